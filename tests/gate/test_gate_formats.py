"""How a judgement is written: well-formed, escaped, with every figure and what it means."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from certify.gate.conditions.base import Trial
from certify.gate.judge import GATE_FORMATS, Judgement, judge
from certify.gate.policy import Policy

NASTY = 'net|<script>&"\x00\x1b[1m]]>'


@pytest.fixture
def judgement(run_of) -> Judgement:
    clauses = [
        {"kind": "certified_accuracy", "radius": 0.5, "at_least": 0.65},
        {"kind": "certified_accuracy", "radius": 0.25, "at_least": 0.8},
        {"kind": "attacked_accuracy", "radius": 0.25, "at_least": 0.5},
        {"kind": "non_inferior", "radius": 0.5, "margin": 0.5, "test": "tango"},
    ]
    policy = Policy.of({"threat": {"norm": "l2"}, "require": clauses}, name="p.toml", digest="ab" * 32)
    radii = [0.6] * 70 + [0.3] * 10 + [None] * 20
    run, old = run_of(radii, share=policy.share, name=NASTY), run_of(radii, share=policy.share, name="old")
    return judge(policy, Trial(run, policy.share, old))


def test_the_junit_file_has_a_case_for_each_condition_and_survives_any_name(judgement):
    root = ElementTree.fromstring(judgement.render("junit").encode())
    assert root.tag == "testsuites"
    [suite] = root
    cases = suite.findall("testcase")
    assert len(cases) == len(judgement.outcomes) == 6
    for element in (root, suite):
        counted = [element.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counted == ["6", "2", "0", "0"]
    failures = {case.get("name"): case.find("failure") for case in cases}
    assert [failure is None for failure in failures.values()] == [True, True, True, False, False, True]
    failed = failures["certified accuracy of these inputs at l2 0.25"]
    assert failed.get("type") == "failed"
    assert "required >= 80 %, observed 80.0 %, lower end 79.0 %" in failed.get("message")
    assert failures["accuracy under attack of these inputs at l2 0.25"].get("type") == "undecided"
    assert {case.get("classname") for case in cases} >= {"certify.gate.complete", "certify.gate.non_inferior"}
    properties = {one.get("name"): one.get("value") for one in suite.find("properties")}
    assert properties["run"] == NASTY.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert properties["policy sha256"] == "ab" * 32
    assert properties["model sha256"] == f"digest of {NASTY}".replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert properties["baseline model sha256"] == "digest of old"
    assert "l2 ball, declared radii 0, 0.25, 0.5" in properties["threat"]


def test_the_markdown_is_a_table_that_names_cannot_break(judgement):
    text = judgement.render("markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(judgement.outcomes)
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}
    assert "<script>" not in text.replace("\\<script>", "")
    assert text.startswith("### certify gate: FAILED")
    assert "| FAILED | certified accuracy of these inputs at l2 0.25 | >= 80 % | 80.0 % | 79.0 % |" in text
    assert "ab" * 32 in text


def test_the_table_shows_estimate_end_and_threshold(judgement):
    text = judgement.render("table")
    assert text.startswith("FAILED: p.toml on ")
    assert "required >= 80 %   observed 80.0 %   lower end 79.0 %" in text
    assert "UNDECIDED  accuracy under attack" in text
    flat = " ".join(text.split())
    assert "All interval ends hold at once with probability at least 95%" in flat
    assert "2 statements share" in flat


def test_the_json_holds_the_numbers(judgement):
    fields = json.loads(judgement.render("json"))
    assert fields["result"] == "FAILED"
    assert [one["result"] for one in fields["conditions"]].count("passed") == 4
    assert fields["conditions"][3]["end"] == 0.79
    assert fields["share"] == pytest.approx(0.025)


@pytest.mark.parametrize("format", list(GATE_FORMATS))
def test_every_format_renders_a_gate_of_counts_alone(run_of, format):
    policy = Policy.of({"threat": {"norm": "l2"}, "require": [{"kind": "abstain_rate", "at_most": 0.1}]})
    found = judge(policy, Trial(run_of([0.6] * 10, alpha=None), policy.share))
    assert "No condition rests on a probability" in " ".join(found.render(format).split())
    assert found.passed


def test_a_contradiction_comes_before_all_else(judgement):
    summary = judgement.trial.run.summary
    torn = replace(summary, contradictions=("input 1",), expected=1000)
    trial = replace(judgement.trial, run=replace(judgement.trial.run, summary=torn))
    assert replace(judgement, trial=trial).word == "CONTRADICTION"
