"""A policy is read strictly: nothing in it is ignored, and every refusal is one line that says where."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

from certify.core.properties.top_class import TopClass
from certify.core.properties.top_k import TopK
from certify.core.threats.base import THREATS
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS
from certify.gate.policy import Policy, PolicyThreat, read_policy

ROOT = Path(__file__).parents[2]
CLAUSE = {"kind": "certified_accuracy", "radius": 0.25, "at_least": 0.6}
L2 = {"norm": "l2"}

EXAMPLES = {
    "abstain_rate": {"at_most": 0.05},
    "shifted_accuracy": {"radius": 0.25, "at_least": 0.6, "amount": 0.05},
    "attacked_accuracy": {"radius": 0.25, "at_least": 0.6},
    "certified_accuracy": {"radius": 0.25, "at_least": 0.6, "of": "population"},
    "certified_pixels": {"radius": 0.25, "at_least": 0.6, "of": "population"},
    "complete": {},
    "no_contradiction": {},
    "non_inferior": {"radius": 0.25, "margin": 0.02},
    "worst_group": {"radius": 0.25, "at_least": 0.4, "group": "label"},
}


@pytest.mark.parametrize("kind", list(CONDITIONS))
def test_every_kind_of_condition_has_an_example(kind):
    [condition] = Policy.of({"threat": L2, "require": [{"kind": kind, **EXAMPLES[kind]}]}).require
    assert condition.kind == kind
    assert condition.radii == ((0.25,) if "radius" in EXAMPLES[kind] else ())
    assert condition == CONDITIONS[kind](**EXAMPLES[kind])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"confidense": 0.9}, "unknown key 'confidense'; did you mean 'confidence'?"),
        ({"threat": {"norm": "l2", "inputbox": [0, 1]}}, "threat: unknown key 'inputbox'; did you mean 'input_box'?"),
        ({"threat": {"norm": "l3"}}, "'l3'"),
        ({"threat": {}}, "states no norm"),
        ({"threat": "l2"}, "state the [threat]"),
        ({"threat": {"norm": "l2", "scale": "ab"}}, "scale must be the SHA-256"),
        ({"threat": {"norm": "l2", "units": 1}}, "units must be text"),
        ({"confidence": 95}, "confidence must be at least 0.5 and below 1 (95 % is 0.95), got 95"),
        ({"confidence": float("nan")}, "confidence must be"),
        ({"confidence": True}, "confidence must be a number"),
        ({"require": []}, "requires something"),
        ({"require": {"kind": "complete"}}, "[[require]]"),
        ({"require": [{"radius": 0.25}]}, "condition 1 has no kind; known: abstain_rate"),
        (
            {"require": [CLAUSE, {"kind": "certified_acuracy"}]},
            "condition 2: unknown condition 'certified_acuracy'; did",
        ),
        ({"require": [{**CLAUSE, "at_leest": 0.1}]}, "no setting 'at_leest'; did you mean 'at_least'?"),
        ({"require": [{"kind": "certified_accuracy", "radius": 0.1}]}, "needs at_least"),
        ({"require": [{**CLAUSE, "at_least": 60}]}, "at_least must be a fraction above 0 and at most 1 (60 % is 0.6)"),
        ({"require": [{**CLAUSE, "at_least": 0}]}, "at_least must be a fraction above 0"),
        ({"require": [{**CLAUSE, "at_least": "0.6"}]}, "at_least must be a number"),
        ({"require": [{**CLAUSE, "radius": float("inf")}]}, "radius must be a finite number"),
        ({"require": [{**CLAUSE, "of": "populations"}]}, "did you mean 'population'?"),
        (
            {"require": [{"kind": "abstain_rate", "at_most": 1.0}]},
            "at_most must be a fraction of at least 0 and below 1",
        ),
        ({"require": [{"kind": "non_inferior", "radius": 0.1, "margin": 2}]}, "margin must be a fraction"),
        ({"require": [{**EXAMPLES["non_inferior"], "kind": "non_inferior", "test": "tang"}]}, "did you mean 'tango'?"),
        ({"require": [{**EXAMPLES["worst_group"], "kind": "worst_group", "group": 1}]}, "group must be label"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(change, words):
    with pytest.raises(BadInput, match=re.escape(words)) as refused:
        Policy.of({"threat": L2, "require": [CLAUSE]} | change, name="POLICY.toml")
    assert str(refused.value).startswith("POLICY.toml")
    assert "\n" not in str(refused.value)


def test_each_statement_pays_once_and_counts_pay_nothing():
    def policy(*clauses, **more):
        return Policy.of({"threat": L2, "require": list(clauses), **more})

    population = {**CLAUSE, "of": "population"}
    group = {"kind": "worst_group", "radius": 0.5, "at_least": 0.3}
    free = [{"kind": "complete"}, {"kind": "abstain_rate", "at_most": 0.1}]
    attacked = {"kind": "attacked_accuracy", "radius": 0.5, "at_least": 0.5}
    assert len(policy(CLAUSE, {**CLAUSE, "radius": 0.5}, group, *free, attacked).statements) == 1
    assert len(policy(CLAUSE, population, {**population, "radius": 0.5}).statements) == 2
    assert len(policy({**group, "of": "population"}, {**group, "of": "population", "radius": 0.1}).statements) == 2
    assert len(policy({**attacked, "of": "population"}, {**free[1], "of": "population"}).statements) == 2
    difference = {"kind": "non_inferior", "radius": 0.5, "margin": 0.02}
    # A lower limit holds for any margin; another test is another limit.
    assert len(policy(difference, {**difference, "margin": 0.05}).statements) == 1
    assert len(policy(difference, {**difference, "test": "tango"}).statements) == 2
    assert policy(*free).statements == ()
    for confidence, delta in [(0.95, 0.05), (0.99, 0.01), (0.999, 0.001)]:
        both = policy(CLAUSE, population, confidence=confidence)
        assert both.delta == delta
        assert 2 * both.share <= delta
        assert both.share == pytest.approx(delta / 2, rel=1e-15)


def test_the_threat_model_is_held_against_the_run():
    run = ThreatModel("l2", (0.1,), (0.0, 1.0), "pixels in [0, 1]")
    scaled = ThreatModel("l2", (0.1,), (0.0, 1.0), scale=(1.0, 0.0))
    assert PolicyThreat("l2").difference(run, TopClass()) == ""
    assert PolicyThreat("l2", [0, 1], "pixels in [0, 1]").difference(run, TopClass()) == ""
    assert PolicyThreat("linf").difference(run, TopClass()) == "it is about linf, the run about l2"
    assert "input box is [0, 255] and [0, 1] in the run" in PolicyThreat("l2", (0, 255)).difference(run, TopClass())
    assert "'millivolts'" in PolicyThreat("l2", units="millivolts").difference(run, TopClass())
    assert "its scale is none, the run's" in PolicyThreat("l2").difference(scaled, TopClass())
    assert "the run's none" in PolicyThreat("l2", scale="0" * 8).difference(run, TopClass())
    assert "its scale is 00000000, the run's" in PolicyThreat("l2", scale="0" * 8).difference(scaled, TopClass())
    assert PolicyThreat("l2", scale=scaled.named["scale"][:8]).difference(scaled, TopClass()) == ""
    assert "among the top 2" in PolicyThreat("l2").difference(run, TopK(2))
    assert PolicyThreat("l2", property=TopK(2)).difference(run, TopK(2)) == ""


def test_a_threat_that_fills_its_box_has_one_in_the_policy():
    """Otherwise a run whose box is a sliver around its inputs would pass: every change is small there."""
    filling = {name for name, threat in THREATS.items() if threat.fills_box}
    assert filling == {"features", "patch"}
    for name in filling:
        with pytest.raises(BadInput, match="state the input_box"):
            PolicyThreat(name)
        sliver = THREATS[name]((1,), input_box=(0.4999, 0.5011))
        assert "input box is [0, 1] and" in PolicyThreat(name, (0.0, 1.0)).difference(sliver, TopClass())
    for name in {*THREATS} - {*filling, "lp"}:
        assert PolicyThreat(name).input_box is None


def test_files_that_hold_no_policy_are_refused(tmp_path):
    with pytest.raises(BadInput, match="cannot read policy"):
        read_policy(tmp_path / "absent.toml")
    for content in (b"confidence = ", b"\xff"):
        (tmp_path / "p.toml").write_bytes(content)
        with pytest.raises(BadInput, match="is not a valid TOML file"):
            read_policy(tmp_path / "p.toml")


def test_the_example_policy_has_every_kind_of_condition():
    """But the one about the pixels of a segmentation, which the policy is not about."""
    policy = read_policy(ROOT / "docs/policy.toml")
    assert {one.kind for one in policy.require} == set(CONDITIONS) - {"certified_pixels"}
    assert len(policy.statements) == 4
    assert policy.radii == (0.25, 0.5)
    assert len(policy.digest) == 64


def test_the_example_workflow_gates_with_options_that_exist():
    workflow = yaml.safe_load((ROOT / "docs/ci/certify.yml").read_text())
    commands = [step["run"].split() for step in workflow["jobs"]["gate"]["steps"] if "run" in step]
    asked = {command[1]: command[2:] for command in commands if command[0] == "certify"}
    assert list(asked) == ["run", "check", "gate", "report"]
    for name in ("run", "gate"):
        module = importlib.import_module("certify.cli.run" if name == "run" else "certify.cli.gate")
        options = inspect.signature(getattr(module, name)).parameters
        assert {word[2:].replace("-", "_") for word in asked[name] if word.startswith("--")} <= set(options)
