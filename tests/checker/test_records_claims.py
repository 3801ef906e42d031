"""Runs as a whole: what is missing, unfinished, sharded, or read from somebody's log."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from certify.checker.derivations.published import published_claims
from certify.checker.records import presence_claims
from certify.checker.result import UNDERIVABLE, Standing
from certify.checker.schedules import schedule_fault
from certify.checker.settings import settings_claims
from certify.core.certificate import Certificate
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import Dataset, input_digest
from certify.errors import BadInput, StoreError
from certify.models.classifier import Classifier
from certify.stats.ladder import rungs
from certify.stats.sequential import geometric_looks
from certify.store.run_folder import Manifest, RunFolder
from certify.study.checking import check_run
from certify.study.evaluate import build
from certify.study.published import import_logs
from certify.study.read import merge

NOT_AT_HAND = {"sample", "label", "input box", "input digest", "model digest", "features", "classes"}
"""What is open of a run of smoothing whose model and data only Python knows."""

THREAT = ThreatModel("linf", (0.0, 0.1))
POSITIONS = (3, 5, 8, 11)
X = np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2)
DATA = Dataset("points", X, np.array([0, 1, 1, 0]), 2, index=np.array(POSITIONS))
SETTINGS = {
    "model": {"digest": "m", "name": "net"},
    "data": {"name": "points", "digest": DATA.digest, "inputs": 4, "of": 100},
    "threat": THREAT.to_dict(),
    "certifiers": [{"method": "ibp"}, {"method": "crown"}],
    "attack": None,
    "seed": 0,
    "shard": [0, 1],
    "inputs": 4,
}


def records(method: str, *positions: int) -> list[Certificate]:
    found = []
    for position in positions:
        row = POSITIONS.index(position)
        found.append(
            Certificate(
                index=position,
                input_digest=input_digest(X[row]),
                label=int(DATA.y[row]),
                prediction=1 - int(DATA.y[row]),
                verdict=Verdict.FALSIFIED,
                radius=None,
                threat=THREAT,
                guarantee=Guarantee.deterministic(),
                method=method,
                evidence=None,
                model_digest="m",
            )
        )
    return found


def standing(claims, which: Standing) -> set[tuple[str, str]]:
    return {(one.subject, one.claim) for one in claims if one.standing is which}


def test_a_whole_run_is_confirmed():
    claims = presence_claims([*records("ibp", *POSITIONS), *records("crown", *POSITIONS)], [], SETTINGS)
    assert {one.standing for one in claims} == {Standing.CONFIRMED}
    assert len(claims) == 4


def test_what_is_not_there_yet_is_open():
    claims = presence_claims([*records("ibp", *POSITIONS), *records("crown", 3, 5)], [], SETTINGS)
    assert not standing(claims, Standing.REFUTED)
    assert standing(claims, Standing.OPEN) == {("records, crown", "inputs"), ("records, crown", "data digest")}


def test_what_later_records_leave_out_was_dropped():
    claims = presence_claims([*records("ibp", *POSITIONS), *records("crown", 3, 5, 11)], [], SETTINGS)
    assert standing(claims, Standing.REFUTED) == {("input 8, crown", "inputs")}
    claims = presence_claims([*records("ibp", 3, 5), *records("crown", *POSITIONS)], [], SETTINGS)
    assert standing(claims, Standing.REFUTED) == {("input 8, ibp", "inputs"), ("input 11, ibp", "inputs")}


def test_inputs_that_nobody_asked_for_are_named():
    fewer = SETTINGS | {"inputs": 3, "data": SETTINGS["data"] | {"inputs": 3}}
    claims = presence_claims([*records("ibp", *POSITIONS), *records("crown", *POSITIONS)], [], fewer)
    assert ("records, ibp", "inputs") in standing(claims, Standing.REFUTED)


def test_labels_and_digests_of_one_input_agree():
    ibp, crown = records("ibp", *POSITIONS), records("crown", *POSITIONS)
    changed = [replace(crown[0], label=1, prediction=0), replace(crown[1], input_digest="0"), *crown[2:]]
    claims = presence_claims([*ibp, *changed], [], SETTINGS)
    assert standing(claims, Standing.REFUTED) == {
        ("input 3", "label"),
        ("input 5", "input digest"),
        ("records, crown", "data digest"),
    }


def test_methods_and_guarantees_are_those_of_the_manifest():
    [one, other] = records("ibp", 3, 5)
    claims = settings_claims([one, replace(other, method="lipschitz")], [], SETTINGS)
    assert [one.claim for one in claims] == ["settings", "method"]


@pytest.fixture(scope="module")
def clf() -> Classifier:
    return Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)


def run(clf, out, inputs=70, **changes) -> None:
    x = np.linspace(0, 1, inputs * 2, dtype=np.float32).reshape(inputs, 2)
    data = Dataset("line", x, (x.mean(1) > 0.5).astype(np.int64), 2)
    options = {"sigma": 0.25, "n": 100, "schedule": "fixed", "n0": 10}
    shard = changes.get("shard", (0, 1))
    threat = ThreatModel("l2", (0.0, 0.1))
    build(
        clf, data, threat, certifiers=["smoothing"], attack=None, attack_option={}, seed=1, options=options, shard=shard
    ).run(out)


def test_a_shard_is_not_the_whole_and_all_of_them_are(clf, tmp_path):
    for number in (0, 1):
        run(clf, tmp_path / str(number), shard=(number, 2))
        found = check_run(tmp_path / str(number))
        assert not found.refuted
        assert not found.complete
        [said] = [one.said for one in found.open if one.claim == "data digest"]
        assert said == f"these are the records of shard {number}/2: merge all shards"
    merge([tmp_path / "0", tmp_path / "1"], tmp_path / "whole")
    found = check_run(tmp_path / "whole")
    assert not found.refuted
    assert {one.claim for one in found.open} == NOT_AT_HAND


def test_a_failed_computation_leaves_nothing_to_derive(clf, tmp_path):
    run(clf, tmp_path, inputs=4)
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as db, db:
        [(text,)] = db.execute("SELECT record FROM certificates WHERE position=2").fetchall()
        failed = {"verdict": "error", "prediction": None, "radius": None, "radius_hex": None, "evidence": None}
        fields = json.loads(text) | failed | {"guarantee": "empirical", "alpha": None, "forward_passes": 0}
        db.execute("UPDATE certificates SET verdict='error', record=? WHERE position=2", (json.dumps(fields),))
    found = check_run(tmp_path)
    assert [str(one) for one in found.refuted] == []
    assert {one.claim for one in found.open} == NOT_AT_HAND | {"failed computation"}
    assert [one.subject for one in found.open if one.claim == "failed computation"] == ["input 2, smoothing"]
    assert not found.confirmed


def test_folders_that_cannot_be_checked(clf, tmp_path):
    with pytest.raises(StoreError, match="not a run folder"):
        check_run(tmp_path / "none")
    with RunFolder.create(tmp_path / "empty", Manifest(SETTINGS)):
        pass
    with pytest.raises(StoreError, match="holds no certificate yet"):
        check_run(tmp_path / "empty")
    with RunFolder.create(tmp_path / "poor", Manifest({"seed": 0})) as folder:
        folder.records.add(records("ibp", 3))
    with pytest.raises(StoreError, match="lacks what a run needs"):
        check_run(tmp_path / "poor")
    with pytest.raises(BadInput, match="0 or more"):
        check_run(tmp_path / "poor", replay=-1)


@pytest.mark.parametrize("q", [1e-4, 0.01, 0.3, 1e-9])
def test_a_declared_schedule_is_recognised(q):
    settings = {"n": 5000, "alpha": 0.001, "schedule": "declared", "looks": None, "look_alphas": None}
    looks = geometric_looks(5000, 0.001, q)
    schedule = tuple(zip(looks.n, looks.alpha, strict=True))
    assert schedule_fault(schedule, settings, 0.0) == ""
    assert "the settings ask for" in schedule_fault(schedule[1:], settings, 0.0)
    moved = (*schedule[:-2], (schedule[-2][0], 2e-5), schedule[-1])
    assert schedule_fault(moved, settings, 0.0)


SIGMA, N, ALPHA = 0.25, 1000, 0.001


@pytest.fixture
def log(tmp_path):
    """A run folder with a log of radii on the ladder, printed to three digits."""
    radii = rungs(np.array([N - k for k in range(60)]), N, ALPHA, SIGMA)
    lines = ["idx\tlabel\tpredict\tradius\tcorrect\ttime\n"]
    lines += [f"{place}\t1\t1\t{radius:.3}\t1\t0:00:01\n" for place, radius in enumerate(radii)]
    (tmp_path / "log").write_text("".join([*lines, "60\t1\t-1\t0.0\t0\t0:00:01\n"]))
    import_logs([tmp_path / "log"], tmp_path / "run", sigma=SIGMA, n=N, alpha=ALPHA)
    return tmp_path / "run"


def test_published_radii_stay_open_and_do_not_count_as_missing(log):
    found = check_run(log)
    assert [str(one) for one in found.refuted] == []
    assert {one.claim for one in found.open} == {"published radius"} <= UNDERIVABLE
    assert "votes" in {one.claim for one in check_run(log, replay=1).open}, "there is no model to draw with"
    assert found.complete
    assert not found.confirmed
    assert "proves none" in found.statement


def test_published_radii_that_contradict_their_log(log):
    with RunFolder.open(log) as folder:
        certificates = folder.records.certificates()

    def faults(place: int, **evidence) -> set[str]:
        one = certificates[place]
        altered = replace(one.evidence, **evidence)
        changed = replace(one, evidence=altered, radius=float(altered.printed))
        claims = published_claims([*certificates[:place], changed, *certificates[place + 1 :]])
        subjects = {claim.subject for claim in claims if claim.standing is Standing.REFUTED}
        assert subjects <= {f"input {place}, published"}
        return {claim.claim for claim in claims if claim.standing is Standing.REFUTED}

    assert faults(0) == set()
    scaled = replace(certificates[0], threat=replace(certificates[0].threat, scale=(1000.0,)))
    [claim] = [one for one in published_claims([scaled]) if one.claim == "published radius"]
    assert "features count alike" in claim.said
    assert claim.standing is Standing.REFUTED
    assert "published radius" in faults(0, printed="0.9", lowest=0.8995)  # above the top
    assert "published radius" in faults(4, printed="0.61", lowest=0.6095)  # between two rungs
    assert faults(4, lowest=float(certificates[4].evidence.printed)) == {"printed"}
