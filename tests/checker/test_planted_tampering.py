"""Real runs of every method are confirmed whole; every tampering that is planted in their files is caught and named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adversary.forgeries import INPUTS, RUNS, edit, everywhere, make_runs, store

from certify.checker.result import CheckedClaim, Standing
from certify.core.example import Example
from certify.core.threats.lp import ThreatModel
from certify.store.run_folder import Manifest
from certify.study.checking import check_run


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two models, the data, and one run for each of RUNS."""
    return make_runs(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def run(made, tmp_path) -> Callable[[str], Path]:
    """A copy of a run, to tamper with."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


def certified(folder: Path, method: str = "%", least: float = 0.01) -> int:
    """The first input that is certified."""
    with store(folder) as db:
        rows = db.execute("SELECT position, record FROM certificates WHERE method LIKE ? ORDER BY position", (method,))
        return next(position for position, text in rows if (json.loads(text)["radius"] or 0) > least)


def faults(folder: Path, **options) -> set[tuple[str, str]]:
    found = check_run(folder, **options)
    assert not found.confirmed
    assert not found
    return {(one.subject, one.claim) for one in found.refuted}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_as_it_was_made_is_confirmed_whole(made, name):
    found = check_run(made / name, replay=4 if "smoothing" in RUNS[name]["certifier"] else 0)
    assert [*map(str, found.refuted)] == []
    assert {one.claim for one in found.open} <= {"attack failed"}
    assert found.complete
    assert found.confirmed
    assert found
    assert {"sample", "record", "inputs", "data digest", "settings", "label", "radius"} <= found.counts.keys()


def test_an_example_in_these_runs_is_executed(made):
    for name in ("declared", "bounds", "complete"):
        assert check_run(made / name).counts["example"][Standing.CONFIRMED] > 1


def same(_: dict[str, Any]) -> None:
    """Leave it as it is."""


def radius(by: float) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        fields["radius"] += by
        fields["radius_hex"] = fields["radius"].hex()
        if fields["evidence"]["kind"] == "complete":
            fields["evidence"]["certified"] = fields["radius"]

    return change


SMALL, LARGE = radius(-1e-4), radius(1e-4)


@pytest.mark.parametrize("change", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "smoothing") for name in ("declared", "fixed", "votes", "grid")),
        *(("bounds", method) for method in ("ibp", "crown", "alpha-crown")),
        ("auto", "auto"),
        ("lipschitz", "lipschitz"),
    ],
)
def test_a_radius_made_larger_or_smaller(run, name, method, change):
    folder = run(name)
    position = certified(folder, method)
    edit(folder, "certificates", position, change, method)
    found = {
        claim for subject, claim in faults(folder) if subject in (f"input {position}, {method}", f"input {position}")
    }
    # A proof for a radius holds for every smaller one: what gives a smaller one away is what else the record says.
    assert found & {"radius", "record", "margins", "bracket"}


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_the_radius_of_a_bracket_moved_beyond_what_its_ends_allow(run, factor):
    """A proof that holds for a somewhat larger radius proves that one; then the claim is true."""
    folder = run("complete")
    position = certified(folder)
    edit(folder, "certificates", position, lambda fields: radius((factor - 1) * fields["radius"])(fields))
    assert {claim for _, claim in faults(folder)} & {"radius", "bracket"}


def votes(fields: dict[str, Any]) -> None:
    last, kept = fields["evidence"]["looks"][-1], str(fields["prediction"])
    other = str(1 - fields["prediction"])
    last["counts"][kept] -= 1
    last["counts"][other] = last["counts"].get(other, 0) + 1


def more_votes(fields: dict[str, Any]) -> None:
    fields["evidence"]["looks"][-1]["counts"][str(fields["prediction"])] += 1


def of(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        for name in path[:-1]:
            fields = fields[name]
        fields[path[-1]] = value

    return change


def other_label(fields: dict[str, Any]) -> None:
    fields["label"] = 1 - fields["label"]


def other_class(fields: dict[str, Any]) -> None:
    fields["prediction"] = 1 - fields["prediction"]


ABSTAINED = {"verdict": "abstain", "radius": None, "radius_hex": None}
SMOOTHED = {
    "counts": (votes, "confidence bound"),
    "counts that do not sum": (more_votes, "record"),
    "seed": (of("evidence", "seed", value=6), "seed"),
    "sigma": (of("evidence", "sigma", value=0.2), "sigma"),
    "alpha": (of("alpha", value=0.002), "alpha"),
    "an alpha below the looks": (of("alpha", value=0.0001), "record"),
    "label": (other_label, "label"),
    "input digest": (of("input_digest", value="00" * 32), "input digest"),
    "model digest": (of("model_digest", value="00" * 32), "model digest"),
    "verdict": (of("verdict", value="abstain"), "record"),
    "verdict and radius": (lambda fields: fields.update(ABSTAINED), "verdict"),
    "prediction": (other_class, "prediction"),
    "norm": (of("norm", value="linf"), "record"),
    "threat model": (of("threat", "radii", value=[0.0, 0.5]), "threat model"),
    "radius alone": (of("radius", value=0.9), "record"),
    "noise": (of("evidence", "noise", value="laplace"), "noise"),
    "assumption": (of("evidence", "assumption", value="none"), "assumption"),
    "another field": (of("comment", value="fine"), "record"),
    "evidence of another kind": (of("evidence", value=None), "record"),
}


@pytest.mark.parametrize("change", SMOOTHED)
@pytest.mark.parametrize("name", ["declared", "fixed", "votes", "grid"])
def test_what_is_changed_in_a_smoothing_certificate(run, name, change):
    folder = run(name)
    position = certified(folder)
    altered, claim = SMOOTHED[change]
    edit(folder, "certificates", position, altered)
    found = faults(folder)
    assert claim in {claim for subject, claim in found if subject.startswith(f"input {position},")}
    # Nobody else is blamed, but for the whole of which it is a part.
    assert {subject.split(",")[0] for subject, _ in found} <= {f"input {position}", "records"}


PROOFS = {
    "label": (other_label, {"label"}),
    "input digest": (of("input_digest", value="00" * 32), {"input digest"}),
    "model digest": (of("model_digest", value="00" * 32), {"model digest"}),
    "prediction": (other_class, {"prediction"}),
    "claim": (of("evidence", "claim", value="float32"), {"claim"}),
    "margins": (lambda fields: fields["evidence"]["margins"].__setitem__(0, 5.0), {"margins"}),
    "unknown": (lambda fields: fields.update(ABSTAINED | {"verdict": "unknown"}), {"record"}),
    "guarantee": (of("guarantee", value="empirical"), {"record"}),
}


@pytest.mark.parametrize("change", PROOFS)
def test_what_is_changed_in_a_proof(run, change):
    folder = run("bounds")
    position = certified(folder, "crown")
    altered, claims = PROOFS[change]
    edit(folder, "certificates", position, altered, "crown")
    found = faults(folder)
    assert claims <= {claim for subject, claim in found if subject.startswith(f"input {position}, crown")}


def broken(folder: Path) -> int:
    with store(folder) as db:
        rows = db.execute("SELECT position, record FROM findings ORDER BY position DESC").fetchall()
    return next(position for position, text in rows if (json.loads(text)["distance"] or 0) > 0.01)


def moved(fields: dict[str, Any]) -> None:
    x = Example.from_dict(fields["x_adv"]).values
    fields["x_adv"] = Example.of(x * np.float32(0.97)).to_dict()


def nearer(fields: dict[str, Any]) -> None:
    fields["distance"] *= 0.9
    fields["distance_hex"] = fields["distance"].hex()


FOUND = {
    "example moved": (moved, {"distance", "radius"}),
    "distance": (nearer, {"distance"}),
    "adversarial class": (lambda fields: fields.update(adversarial_prediction=fields["label"]), {"example"}),
    "label": (other_label, {"label"}),
    "input digest": (of("input_digest", value="00" * 32), {"input digest"}),
    "model digest": (of("model_digest", value="00" * 32), {"model digest"}),
    "seed": (of("seed", value=6), {"seed"}),
    "steps": (of("settings", "steps", value=400), {"attack settings"}),
    "radii": (of("radii", value=[0.0, 0.7]), {"radii"}),
}


@pytest.mark.parametrize("change", FOUND)
@pytest.mark.parametrize("name", ["declared", "bounds"])
def test_what_is_changed_in_a_finding(run, name, change):
    folder = run(name)
    position = broken(folder)
    altered, claims = FOUND[change]
    edit(folder, "findings", position, altered)
    assert claims & {claim for subject, claim in faults(folder) if subject.startswith(f"input {position}, pgd")}


@pytest.mark.parametrize("name", ["declared", "bounds"])
def test_a_row_that_was_dropped(run, name):
    folder = run(name)
    with store(folder) as db:
        db.execute("DELETE FROM certificates WHERE position=4")
    named = {subject for subject, claim in faults(folder) if claim == "inputs"}
    assert named == {f"input 4, {method}" for method in RUNS[name]["certifier"].split(",")}


def test_the_last_row_that_was_dropped(run):
    """With an attack after it that is a contradiction; alone, nobody can tell it from a run that is not finished."""
    folder = run("declared")
    with store(folder) as db:
        db.execute(f"DELETE FROM certificates WHERE position={INPUTS - 1}")
    assert (f"input {INPUTS - 1}, smoothing", "inputs") in faults(folder)
    folder = run("fixed")
    with store(folder) as db:
        db.execute(f"DELETE FROM certificates WHERE position={INPUTS - 1}")
    found = check_run(folder)
    assert not found.refuted
    assert not found.complete
    assert {one.claim for one in found.open} == {"inputs", "data digest"}
    assert found.counts["sample"][Standing.CONFIRMED]


def test_a_finding_that_was_dropped(run):
    folder = run("declared")
    with store(folder) as db:
        db.execute("DELETE FROM findings WHERE position=2")
    assert ("input 2, pgd (attack)", "inputs") in faults(folder)


def test_a_row_that_stands_twice(run):
    folder = run("fixed")
    with store(folder) as db:  # under another position
        copied = f"SELECT {INPUTS}, method, settings, verdict, record FROM certificates WHERE position=1"
        db.execute(f"INSERT INTO certificates {copied}")
    assert {("input 1, smoothing", "inputs"), (f"input {INPUTS}, smoothing", "record")} <= faults(folder)


def test_a_row_that_was_put_in_the_place_of_another(run):
    folder = run("fixed")
    with store(folder) as db:
        [(record,)] = db.execute("SELECT record FROM certificates WHERE position=0").fetchall()
        db.execute("UPDATE certificates SET record=? WHERE position=3", (record,))
    assert {("input 3, smoothing", "record"), ("input 3, smoothing", "inputs")} <= faults(folder)


@pytest.mark.parametrize("column", ["method", "verdict", "settings"])
def test_a_column_that_says_otherwise(run, column):
    folder = run("fixed")
    with store(folder) as db:
        db.execute(f"UPDATE certificates SET {column}='other' WHERE position=2")
    claim = "settings digest" if column == "settings" else "record"
    assert claim in {claim for subject, claim in faults(folder) if subject.startswith("input 2,")}


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (of("certifiers", value=[]), "method"),
        (of("threat", "radii", value=[0.0, 0.9]), "threat model"),
        (of("model", "digest", value="00" * 32), "model digest"),
        (of("data", "digest", value="00" * 32), "data digest"),
        (of("seed", value=6), "seed"),
        (of("attack", "steps", value=4000), "attack settings"),
        (lambda settings: settings["certifiers"][0].update(n=100_000), "n"),
        (lambda settings: settings["certifiers"][0].update(alpha=0.0001), "alpha"),
        (lambda settings: settings["certifiers"][0].update(schedule="fixed"), "schedule"),
        (lambda settings: settings["certifiers"][0].update(selection="draws"), "selection"),
    ],
)
def test_a_manifest_that_was_edited(run, change, claim):
    folder = run("declared")
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["settings"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = faults(folder)
    assert ("manifest", "settings digest") in found
    with store(folder) as db:  # and the digest of it under which the records stand
        for table in ("certificates", "findings"):
            db.execute(f"UPDATE {table} SET settings=?", (Manifest(manifest["settings"]).digest,))
    found = faults(folder)
    assert ("manifest", "settings digest") not in found
    assert claim in {claim for _, claim in found}


def test_a_schedule_of_one_input_that_was_changed(run):
    """Sums and counts are right, and still the looks were not fixed beforehand."""
    folder = run("declared")
    with store(folder) as db:
        rows = db.execute("SELECT position, record FROM certificates ORDER BY position").fetchall()
    position = next(position for position, text in rows if json.loads(text)["evidence"]["later"])

    def change(fields: dict[str, Any]) -> None:
        evidence = fields["evidence"]
        [last] = evidence["later"][-1:]
        spared = last[1] / 2
        last[1] -= spared
        evidence["looks"][-1]["alpha"] += spared

    edit(folder, "certificates", position, change)
    assert {"schedule", "looks"} <= {claim for _, claim in faults(folder)}


def test_another_model_or_other_data(made):
    for name in ("bounds", "declared"):
        assert ("manifest", "model digest") in faults(made / name, model=str(made / "other"))
    x, y = (np.load(made / "data.npz")[name] for name in "xy")
    x[5, 0] = 1 - x[5, 0]
    found = faults(made / "fixed", data=_npz(made, x, y))
    assert found == {("input 5, smoothing", "input digest"), ("manifest", "sample")}
    y[6] = 1 - y[6]
    assert ("input 6, smoothing", "label") in faults(made / "fixed", data=_npz(made, x, y))
    assert ("input 9, smoothing", "input digest") in faults(made / "fixed", data=_npz(made, x[:9], y[:9]))


def _npz(folder: Path, x, y) -> str:
    np.savez(folder / "edited.npz", x=x, y=y)
    return f"npz:{folder / 'edited.npz'}"


SCALE = ThreatModel("l2", (0.0,), scale=(1000.0,) * 4).to_dict()["scale"]
ALIKE = {
    "a scale": ("fixed", of("threat", "scale", value=SCALE), of("threat", "scale", value=SCALE), "noise"),
    "assumption": ("fixed", of("evidence", "assumption", value="nothing"), same, "noise"),
    "labels": ("votes", other_label, same, "label"),
    "dimensions": ("fixed", of("evidence", "dimensions", value=1), same, "features"),
    "model": (
        "fixed",
        of("model_digest", value="00" * 32),
        of("model", "digest", value="00" * 32),
        "model digest",
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_what_is_changed_alike_in_all_records_and_the_manifest(run, name):
    folder, change, settings, claim = ALIKE[name]
    folder = run(folder)
    everywhere(folder, change, settings)
    found = faults(folder)
    assert claim in {claim for _, claim in found}
    assert ("manifest", "settings digest") not in found


def failed(fields: dict[str, Any]) -> None:
    if fields["verdict"] != "certified":
        fields.update(ABSTAINED | {"verdict": "error", "evidence": None, "prediction": fields["label"]})


@pytest.mark.parametrize("name", ["votes", "fixed", "bounds", "complete"])
def test_a_computation_that_failed_names_no_class(run, name):
    folder = run(name)
    everywhere(folder, failed)
    assert {claim for _, claim in faults(folder)} == {"failed computation"}


def kept_only(folder: Path, rows: str) -> int:
    with store(folder) as db:
        db.execute(f"DELETE FROM certificates WHERE NOT ({rows})")
        return db.execute("SELECT count(*) FROM certificates").fetchone()[0]


def test_inputs_that_were_picked_are_no_sample(run):
    """Only what is certified is left, and the manifest says that no more was asked for."""
    for name in ("votes", "sample"):
        folder = run(name)
        best = "SELECT rowid FROM certificates WHERE verdict='certified' ORDER BY position LIMIT 4"
        asked = kept_only(folder, f"rowid IN ({best})")

        def fewer(settings: dict[str, Any], asked: int = asked) -> None:
            settings["inputs"] = settings["data"]["inputs"] = asked

        everywhere(folder, same, fewer)
        assert ("manifest", "sample") in faults(folder)


@pytest.mark.parametrize("name", ["of", "drawn_seed"])
def test_a_sample_of_other_data_or_another_seed(run, name):
    folder = run("sample")
    everywhere(folder, same, of("data", name, value=11))
    assert ("manifest", "sample") in faults(folder)


def test_a_whole_that_is_said_to_be_a_sample(run):
    folder = run("votes")
    everywhere(folder, same, of("data", "of", value=INPUTS + 1))
    assert faults(folder) == {("manifest", "sample")}


def test_fewer_inputs_than_the_sample_has(run):
    folder = run("sample")
    everywhere(folder, same, of("inputs", value=5))
    assert ("manifest", "inputs") in faults(folder)


def test_a_row_dropped_from_a_sample_is_known_from_the_data(run, made):
    folder = run("sample")
    with store(folder) as db:
        positions = [position for (position,) in db.execute("SELECT position FROM certificates ORDER BY position")]
    kept_only(folder, f"position!={positions[2]}")
    assert faults(folder) == {(f"input {positions[2]}, smoothing", "inputs")}
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["context"]["specs"]["data"] = "npz:nowhere.npz"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = check_run(folder)
    assert not found.refuted, "which input it was, only the data say"
    assert {"inputs", "sample"} <= {one.claim for one in found.open}


def test_a_manifest_that_does_not_say_how_its_sample_was_drawn(run):
    folder = run("sample")
    everywhere(folder, same, lambda settings: settings["data"].pop("drawn_seed"))
    found = check_run(folder)
    assert not found.refuted
    assert [(one.claim, "older version" in one.said) for one in found.open] == [("sample", True)]


def test_attacks_that_are_said_to_have_failed_are_counted_and_cannot_be_derived(run):
    """But for inputs that are misclassified, which are their own examples."""
    nothing = dict.fromkeys(
        ("radius", "distance", "distance_hex", "x_adv", "adversarial_prediction", "p_label_upper"), None
    )
    for name in ("declared", "bounds"):
        folder = run(name)
        everywhere(folder, lambda fields: fields.update(nothing), table="findings")
        found = check_run(folder)
        assert {one.claim for one in found.open} == {"attack failed"}
        assert found.complete
        assert found.counts["attack failed"][Standing.OPEN] == INPUTS
        assert {(one.subject, one.claim) for one in found.refuted} == (
            {("input 3, pgd", "example")} if name == "bounds" else set()
        )
        everywhere(folder, of("prediction", value=7), table="findings")
        assert "prediction" in {one.claim for one in check_run(folder).refuted}


def test_votes_that_were_made_up_are_found_by_a_replay(run):
    """Counts, bound and radius that fit together, and that nobody drew."""
    from certify.certifiers.smoothing import Smoothing
    from certify.core.certificate import Certificate
    from certify.smoothing.theorem import Theorem
    from certify.stats.binomial import clopper_pearson_upper

    folder = run("grid")
    position = 2

    def change(fields: dict[str, Any]) -> None:
        look = fields["evidence"]["looks"][-1]
        label = fields["evidence"]["selection"]["counts"]
        kept = int(max(label, key=label.get))
        look["counts"] = {str(kept): look["n"]}
        q = clopper_pearson_upper(0, look["n"], look["alpha"])
        law = Smoothing(0.25, noise="gaussian-grid").law()
        found = Theorem(law, "l2", 4).radius(q, q)
        fields["evidence"] |= {"q_upper": q, "rival_upper": q}
        fields.update(prediction=kept, verdict="certified", radius=found, radius_hex=found.hex(), reason="")
        assert Certificate.from_dict(fields)

    with store(folder) as db:
        db.execute("UPDATE certificates SET verdict='certified' WHERE position=?", (position,))
    edit(folder, "certificates", position, change)
    assert not check_run(folder).refuted
    found = check_run(folder, replay=INPUTS).refuted
    assert {one.subject for one in found} == {f"input {position}, smoothing"}


def test_what_is_not_at_hand_stays_open_and_says_what_to_do(made, run):
    folder = run("bounds")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["context"]["specs"] = {"model": "nets.small:build", "data": "npz:nowhere.npz"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = check_run(folder)
    assert not found.refuted
    missing = {"radius", "example", "prediction", "sample", "label", "input box", "input digest", "model digest"}
    assert {one.claim for one in found.open} == missing | {"attack failed"}
    assert "--model nets.small:build" in next(one.said for one in found.open if one.claim == "radius")
    data = f"npz:{made / 'data.npz'}"
    assert check_run(folder, model=str(made / "model"), data=data).complete
    assert isinstance(found.open[0], CheckedClaim)


def test_built_in_data_are_no_function_whatever_they_look_like(made, run, monkeypatch):
    folder = run("votes")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["context"]["specs"]["data"] = "npz:data.npz"  # reads like function npz of module data
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(made)
    assert check_run(folder).complete
    np.savez(made / "edited.npz", x=np.load("data.npz")["x"][:, ::-1], y=np.load("data.npz")["y"])
    manifest["context"]["specs"]["data"] = "npz:edited.npz"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "input digest" in {one.claim for one in check_run(folder).refuted}


def test_certificates_in_hand_are_checked_with_their_network(made):
    from certify.checker.check import check
    from certify.errors import BadInput
    from certify.models.loaders import load_model
    from certify.store.run_folder import RunFolder

    clf, other = load_model(str(made / "model")), load_model(str(made / "other"))
    x = np.load(made / "data.npz")["x"]
    with RunFolder.open(made / "auto") as folder:
        proofs = folder.records.certificates()
    assert check(proofs, clf, x)
    assert check(proofs[0], clf, x[0])
    assert check(proofs[0], clf, torch.from_numpy(x[:1]))
    assert not check(proofs, other, x)
    assert not check(proofs, clf, x[::-1].copy())
    for arguments in ((), (clf,), (None, x)):
        with pytest.raises(BadInput, match=r"certify\.check\(cert, clf, x\)"):
            check(proofs, *arguments)
    with pytest.raises(BadInput, match="give one input a certificate"):
        check(proofs, clf, x[:3])
    with pytest.raises(BadInput, match=r"expected a certify\.Certificate"):
        check(["proof"])
    with RunFolder.open(made / "fixed") as folder:
        smoothed = folder.records.certificates()
    assert check(smoothed)
    assert check(smoothed, clf, x)
    assert {one.claim for one in check(smoothed, other).refuted} == {"model digest"}


def test_smoothing_is_checked_without_torch(made):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from certify.checker.result import Standing\n"
        "from certify.study.checking import check_run\n"
        f"fixed, declared = (check_run(Path({str(made)!r}, name)) for name in ('fixed', 'declared'))\n"
        "assert not any((fixed.refuted, declared.refuted, fixed.complete, declared.complete))\n"
        "print(*sorted({one.claim for one in fixed.open}), fixed.counts['radius'][Standing.CONFIRMED], end=' ')\n"
        "print(fixed.open[0].said)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.stderr == ""
    assert shown.stdout.startswith(
        f"classes features input box input digest label model digest sample {INPUTS} the data "
    )
    assert "torch" in shown.stdout
