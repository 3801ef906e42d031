"""``certify gate`` on real run folders: five answers, and one line with code 2 for what cannot be judged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main
from certify.core.certificate import Certificate
from certify.core.verdict import Verdict
from certify.store.run_folder import Manifest, RunFolder

N = 60


def classifier(tilt: float = 0.0) -> certify.Classifier:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
        module.bias.copy_(torch.tensor([tilt, 0.0]))
    return certify.Classifier(module.eval(), num_classes=2)


def inputs(n: int = N, seed: int = 0):
    x = np.random.default_rng(seed).uniform(0, 1, (n, 2)).astype(np.float32)
    return x, (x[:, 1] > x[:, 0]).astype(np.int64)


def make(out: Path, *, norm: str = "linf", tilt: float = 0.0, data=None, **options) -> Path:
    threat = certify.ThreatModel(norm, (0.0, 0.1))
    options = {"certifier": "crown", "attack": "fgsm"} | options
    certify.evaluate(classifier(tilt), data or inputs(), threat=threat, out=out, **options)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Runs that no test changes."""
    folder = tmp_path_factory.mktemp("runs")
    make(folder / "new")
    make(folder / "old", tilt=0.02)
    make(folder / "fewer", data=tuple(part[:50] for part in inputs()))
    make(folder / "other", data=inputs(seed=1))
    make(folder / "l2", norm="l2")
    make(folder / "quiet", attack=None)
    make(folder / "smoothed", norm="l2", certifier="smoothing", sigma=0.25, n=300, attack=None)
    return folder


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(made / "new", tmp_path / "run"))


@pytest.fixture
def policy(tmp_path):
    def write(*clauses: str, norm: str = "linf", top: str = "") -> str:
        tables = "\n".join(f"[[require]]\n{clause}\n" for clause in clauses)
        (tmp_path / "POLICY.toml").write_text(f'{top}\n[threat]\nnorm = "{norm}"\n{tables}')
        return str(tmp_path / "POLICY.toml")

    return write


def clause(kind: str, **fields) -> str:
    return "\n".join([f'kind = "{kind}"', *(f"{name} = {json.dumps(value)}" for name, value in fields.items())])


CERTIFIED = clause("certified_accuracy", radius=0.1, at_least=0.5)
TOO_MUCH = clause("certified_accuracy", radius=0.1, at_least=0.99)


def edit(run: Path, command: str, *values) -> None:
    with sqlite3.connect(run / "run.sqlite") as db:
        db.execute(command, values)
    db.close()


def plant_false_certificate(run: Path) -> int:
    """Claim a radius around an input that the attack has broken inside it."""
    with RunFolder.open(run) as folder:
        certificates, findings = folder.records.certificates(), folder.records.findings()
    evidence = next(one.evidence for one in certificates if one.holds_at(0.1))
    broken = next(one for one in findings if one.distance is not None)
    false: Certificate = replace(
        next(one for one in certificates if one.index == broken.index),
        verdict=Verdict.CERTIFIED,
        radius=2 * broken.distance,
        evidence=evidence,
    )
    text = json.dumps(false.to_dict())
    edit(run, "UPDATE certificates SET record=?, verdict='certified' WHERE position=?", text, false.index)
    return false.index


def gate(*arguments: object) -> int:
    return main(["gate", *map(str, arguments), "--quiet"])


def test_a_run_that_meets_the_policy_passes_with_0(made, policy, tmp_path, capsys):
    asked = policy(CERTIFIED, clause("attacked_accuracy", radius=0.1, at_least=0.5), clause("no_contradiction"))
    junit, markdown = tmp_path / "gate.xml", tmp_path / "summary.md"
    markdown.write_text("what another command wrote\n")
    assert gate(made / "new", "--policy", asked, "--junit", junit, "--markdown", markdown) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("PASSED")
    assert printed.err == ""
    [suite] = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "0")
    text = markdown.read_text()
    assert text.startswith("what another command wrote\n### certify gate: PASSED")


def test_a_run_that_falls_short_fails_with_1(made, policy, tmp_path, capsys):
    junit = tmp_path / "gate.xml"
    assert gate(made / "new", "--policy", policy(CERTIFIED, TOO_MUCH), "--junit", junit) == 1
    assert capsys.readouterr().out.startswith("FAILED")
    [suite] = ElementTree.parse(junit).getroot()
    assert suite.get("failures") == "1"


def test_what_was_not_attacked_does_not_pass(made, policy, capsys):
    assert gate(made / "quiet", "--policy", policy(clause("attacked_accuracy", radius=0.1, at_least=0.01))) == 1
    assert "no attack ran" in capsys.readouterr().out


@pytest.mark.parametrize("of", ["these inputs", "population"])
def test_interval_ends_fail_what_point_estimates_pass(made, policy, capsys, of):
    assert gate(made / "smoothed", "--policy", policy(clause("complete"), norm="l2"), "--format", "json") == 0
    capsys.readouterr()
    observed = certify.summarize(_certificates(made / "smoothed")).rows[1].certified
    asked = policy(clause("certified_accuracy", radius=0.1, at_least=observed, of=of), norm="l2")
    assert gate(made / "smoothed", "--policy", asked, "--format", "json") == 1
    judged = json.loads(capsys.readouterr().out)["conditions"][-1]
    assert judged["end"] < judged["threshold"] == observed == judged["estimate"]


def _certificates(run: Path) -> list[Certificate]:
    with RunFolder.open(run) as folder:
        return folder.records.certificates()


def test_a_contradiction_ends_with_4_whatever_the_policy_asks(run, policy, capsys):
    index = plant_false_certificate(run)
    assert gate(run, "--policy", policy(clause("abstain_rate", at_most=0.5))) == 4
    printed = capsys.readouterr().out
    assert printed.startswith("CONTRADICTION")
    assert f"input {index}: crown certifies" in printed
    edit(run, "DELETE FROM certificates WHERE position=?", (index + 1) % N)  # and incomplete as well
    assert gate(run, "--policy", policy(CERTIFIED)) == 4


def test_an_incomplete_run_ends_with_3(run, policy, capsys):
    edit(run, "DELETE FROM certificates WHERE position > 40")
    assert gate(run, "--policy", policy(CERTIFIED)) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("INCOMPLETE")
    assert "41 of 60 inputs attempted" in printed
    assert "UNDECIDED  certified accuracy" in printed


def test_a_release_is_held_against_the_one_before(made, policy, capsys):
    asked = policy(clause("non_inferior", radius=0.1, margin=0.3))
    assert gate(made / "new", "--policy", asked, "--baseline", made / "old") == 0
    assert "certified accuracy less that of old at linf 0.1" in capsys.readouterr().out
    strict = policy(clause("non_inferior", radius=0.1, margin=0.001))
    assert gate(made / "new", "--policy", strict, "--baseline", made / "old") == 1


def refused(capsys, *arguments: object) -> str:
    assert gate(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_policies_and_baselines_that_do_not_fit_are_refused(made, policy, capsys, tmp_path):
    new = made / "new"
    assert "no setting 'radios'; did you mean 'radius'?" in refused(
        capsys, new, "--policy", policy(CERTIFIED + "\nradios = 1")
    )
    assert "unknown key 'confidenc'; did you mean" in refused(
        capsys, new, "--policy", policy(CERTIFIED, top="confidenc = 0.9")
    )
    assert "it is about linf, the run about l2" in refused(capsys, made / "l2", "--policy", policy(CERTIFIED))
    below = policy(clause("certified_accuracy", radius=0.05, at_least=0.1))
    assert gate(new, "--policy", below) == 0
    capsys.readouterr()
    compares = policy(clause("non_inferior", radius=0.1, margin=0.1))
    assert "name it with --baseline RUN" in refused(capsys, new, "--policy", compares)
    missing = refused(capsys, new, "--policy", compares, "--baseline", made / "fewer")
    assert "fewer misses 10 of the other's inputs (positions 50, 51, 52, 53, 54, ..)" in missing
    assert "fewer misses 10" in refused(capsys, made / "fewer", "--policy", compares, "--baseline", new)
    assert "cannot be compared" in refused(capsys, new, "--policy", compares, "--baseline", made / "other")
    assert "the norm is l2 and linf" in refused(capsys, new, "--policy", compares, "--baseline", made / "l2")
    assert "each of them once" in refused(capsys, new, "--policy", compares, "--baseline", new)
    assert "leave --baseline out" in refused(capsys, new, "--policy", policy(CERTIFIED), "--baseline", made / "old")
    assert "cannot read policy" in refused(capsys, new, "--policy", tmp_path / "absent.toml")
    assert "unknown gate format 'jsn'; did you mean 'json'?" in refused(
        capsys, new, "--policy", policy(CERTIFIED), "--format", "jsn"
    )
    unwritable = ("--junit", tmp_path / "no" / "gate.xml")
    assert "there is no folder" in refused(capsys, new, "--policy", policy(CERTIFIED), *unwritable)
    nowhere = ("--markdown", tmp_path / "no" / "gate.md")
    assert "choose another --markdown" in refused(capsys, new, "--policy", policy(CERTIFIED), *nowhere)


def test_a_report_of_an_earlier_gate_does_not_survive_a_refusal(made, policy, tmp_path, capsys):
    junit = tmp_path / "gate.xml"
    junit.write_text("passed")
    refused(capsys, made / "l2", "--policy", policy(CERTIFIED), "--junit", junit)
    assert not junit.exists()


def truncate(run: Path) -> None:
    file = run / "run.sqlite"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lengthen_a_radius(run: Path) -> None:
    with RunFolder.open(run) as folder:
        one = next(one for one in folder.records.certificates() if one.radius is not None)
    text = json.dumps(one.to_dict() | {"radius": 9.0})
    edit(run, "UPDATE certificates SET record=? WHERE position=?", text, one.index)


def as_shard(run: Path) -> None:
    fields = json.loads((run / "manifest.json").read_text())
    fields["settings"]["shard"] = [1, 2]
    (run / "manifest.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: edit(run, "DELETE FROM certificates"), "holds no certificate yet"),
        (lambda run: edit(run, "PRAGMA user_version=99"), "newer version (schema 99)"),
        (truncate, "cannot be used as a store"),
        (
            lambda run: edit(run, "UPDATE certificates SET record='{' WHERE position=7"),
            "damaged record in certificates",
        ),
        (lengthen_a_radius, "differ in one record"),
        (lambda run: (run / "manifest.json").write_text("{"), "damaged or no manifest"),
        (lambda run: (run / "run.sqlite").unlink(), "is not a run folder"),
        (as_shard, "shard 1 of 2"),
    ],
    ids=["empty", "newer", "truncated", "edited", "radius", "manifest", "no store", "shard"],
)
def test_a_run_that_cannot_be_trusted_is_refused_in_one_line(run, policy, capsys, damage, words):
    damage(run)
    assert words in refused(capsys, run, "--policy", policy(CERTIFIED))


def test_a_record_that_does_not_follow_from_its_evidence_fails_the_gate(run, policy, capsys):
    edit(run, "UPDATE certificates SET record=json_set(record, '$.evidence.bound_method', 'other') WHERE position=3")
    path = policy(CERTIFIED)
    assert gate(run, "--policy", path) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "its evidence of bounds is not what" in shown
    assert gate(run, "--policy", path, "--format", "json") == 1
    [records] = [one for one in json.loads(capsys.readouterr().out)["conditions"] if one["condition"] == "records"]
    assert records["result"] == "failed"
    assert gate(run, "--policy", path, "--no-check") == 0
    edit(run, "UPDATE certificates SET record=json_set(record, '$.evidence.dtype', 'float16') WHERE position=3")
    for flags in ([], ["--no-check"]):  # no such record can be read at all
        assert gate(run, "--policy", path, *flags) == 2
        assert "Invalid enum value 'float16'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda settings: settings["model"].update(digest="00" * 32), "it names model 000000000000"),
        (lambda settings: settings["data"].update(digest="00" * 32), "its data are 000000000000"),
        (lambda settings: settings.update(inputs=N - 1), "about all of its 60 inputs, not 59"),
        (lambda settings: settings["threat"].update(input_box=[-3.0, 3.0]), "its threat model is another one"),
    ],
)
def test_a_manifest_about_something_else_than_its_records_is_refused(run, policy, capsys, change, words):
    fields = json.loads((run / "manifest.json").read_text())
    change(fields["settings"])
    (run / "manifest.json").write_text(json.dumps(fields))
    for table in ("certificates", "findings"):
        edit(run, f"UPDATE {table} SET settings=?", Manifest(fields["settings"]).digest)
    for flags in ([], ["--no-check"]):
        assert gate(run, "--policy", policy(CERTIFIED), *flags) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert words in line
