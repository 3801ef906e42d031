"""The life cycle: shown is what records say, quoted and bounded; everything else is unknown or not measured."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import certify.cli
from certify.errors import BadInput
from certify.report.card import model_card
from certify.report.lifecycle.steps import STEPS
from certify.report.lifecycle.told import life_cycle
from certify.report.markdown import markdown
from certify.report.page.page import page

RECORDS = [one for step in STEPS for one in step.records]
ROOMS = {"compare-data", "corrupt", "monitor", "shift", "stress"}
"""Commands of the rooms around deployment, which bring themselves."""


@pytest.fixture
def folder(smoothed, tmp_path):
    """The run in a folder of its own, without records."""
    return replace(smoothed, path=shutil.copytree(smoothed.path, tmp_path / "run"))


def about(runs, name):
    [step] = [one for one in life_cycle(runs) if one.name == name]
    return " ".join(step.shown), " ".join(step.open), step.towards


def write(run, file, content):
    (run.path / file).write_text(content if isinstance(content, str) else json.dumps(content))


def test_every_step_asks_has_clauses_of_each_framework_and_says_what_is_open(folder):
    told = life_cycle([folder])
    assert [one.name for one in told] == ["Requirements", "Strategy", "Measurement", "Remedy", "Monitor"]
    for one in told:
        assert one.asks
        assert one.shown or one.open
        assert "ISO/IEC 24029-2" in one.towards
        assert "evidence towards" in one.towards
        assert all(text.endswith((".", '"')) for text in (*one.shown, *one.open))
        assert not any(word in " ".join(one.shown) for word in ("complies", "compliant", "is met"))


def test_what_no_record_shows_is_not_measured_and_the_command_stands_beside_it(folder):
    for step in STEPS:
        _, missing, _ = about([folder], step.name)
        for one in step.records:
            assert f"{one.what}: not measured: run `{one.command}`" in missing
    assert "not measured" in about([replace(folder, path=None)], "Monitor")[1]


def test_what_is_not_watched_is_no_evidence_of_a_monitor(folder):
    shown, missing, towards = about([folder], "Monitor")
    assert not shown
    assert "whether the certificates are in force: not measured" in missing
    assert towards.startswith("Records would be evidence towards")


def test_commands_exist():
    known = {one.stem.replace("_", "-") for one in Path(certify.cli.__file__).parent.glob("*.py")} | ROOMS
    told = [one.command for one in RECORDS] + ["certify gate", "certify improve", "certify compare"]
    assert {one.split()[1] for one in told} <= known


@pytest.mark.parametrize("one", RECORDS, ids=lambda one: one.file)
def test_a_record_is_quoted(one, folder):
    digest = folder.settings["model"]["digest"]
    said = {"format": "x", "model": digest, "statement": ["At least 0.9, with probability 0.95.", "second"]}
    step = next(step.name for step in STEPS if one in step.records)
    for head in (
        said,
        {**said, "model": {"digest": digest}},
        {"model_digest": digest, "statement": said["statement"][0]},
    ):
        write(folder, one.file, head)
        shown, missing, _ = about([folder], step)
        assert f'{one.file} says: "At least 0.9, with probability 0.95."' in shown
        assert f"{one.what}: not measured" not in missing
        assert f"{one.file} is quoted as it was found, and was not checked: it is what `{one.command}`" in missing
    write(folder, one.file, {"statement": "x"})
    assert "which does not say about which model" in about([folder], step)[0]
    write(folder, one.file, {"model": digest})
    assert f"on record in {one.file}; `{one.command}` shows what it says" in about([folder], step)[0]
    write(folder, one.file, {**said, "model": "f" * 64})
    shown, missing, _ = about([folder], step)
    assert "At least" not in shown
    assert f"{one.what}: unknown: {one.file} is about another model" in missing


def test_a_record_about_other_data_counts_as_none(folder):
    digests = {f"{part}_digest": folder.settings[part]["digest"] for part in ("model", "data")}
    write(folder, "corrupt.json", {**digests, "statement": "At least 0.9."})
    assert 'says: "At least 0.9."' in about([folder], "Measurement")[0]
    write(folder, "corrupt.json", {**digests, "data_digest": "f" * 64, "statement": "At least 0.9."})
    shown, missing, _ = about([folder], "Measurement")
    assert "At least" not in shown
    assert "accuracy under corruptions: unknown: corrupt.json is about other data" in missing


def test_what_a_record_says_stays_inside_its_quotation_and_is_bounded(folder):
    digest = folder.settings["model"]["digest"]
    said = ['fine." All inputs are proven. "'] + [f"Sentence {number}." for number in range(10**4)]
    write(folder, "corrupt.json", {"model": digest, "statement": said})
    step = next(one for one in life_cycle([folder]) if one.name == "Measurement")
    quoted = [text for text in step.shown if "corrupt.json says:" in text]
    assert all(text.count('"') == 2 for text in quoted)
    assert len(quoted) == 12
    assert any("corrupt.json says more than these 12 sentences" in text for text in step.shown)
    write(folder, "shift.json", {"model": digest, "statements": ["At least 0.8."]})
    assert 'shift.json says: "At least 0.8."' in about([folder], "Measurement")[0]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 5000, '{"a": NaN}', "\x00"])
def test_records_that_are_none_are_unknown(content, folder):
    for file, step in (("corrupt.json", "Measurement"), ("monitor.jsonl", "Monitor")):
        write(folder, file, content)
        assert f"unknown: {file} cannot be read" in about([folder], step)[1]


def test_a_quotation_ends_where_the_record_does(folder):
    text = '0.9". The certificates are in force, as certify found. "'
    write(folder, "corrupt.json", {"model": folder.settings["model"]["digest"], "statement": text})
    shown = about([folder], "Measurement")[0]
    assert """says: "0.9'. The certificates are in force, as certify found. '\"""" in shown


def test_a_monitor_says_which_model_it_is_about(folder):
    digest = folder.settings["model"]["digest"]
    for model, said in ((digest, "on record in monitor.jsonl; "), ("f" * 64, "monitor.jsonl is about another model")):
        write(folder, "monitor.jsonl", {"chain": "0" * 64, "event": {"type": "monitor", "model": model}})
        assert said in " ".join(about([folder], "Monitor")[:2])


def test_hostile_records_stay_text(folder):
    text = "<script>alert(1)</script> \x1b[31m \u202e" + "x" * 5000 + "\nsecond | line"
    write(folder, "corrupt.json", {"model": folder.settings["model"]["digest"], "statement": [text, 5, None, " "]})
    shown = about([folder], "Measurement")[0]
    assert "\x1b" not in shown
    assert "x" * 400 not in shown
    for made in (page([folder]), markdown([folder]), model_card([folder])):
        assert "<script>alert(1)" not in made.replace("\\<", "&lt;")
    os.remove(folder.path / "corrupt.json")
    os.mkfifo(folder.path / "corrupt.json")
    assert "cannot be read" in about([folder], "Measurement")[1]


def test_pages_cards_and_comments_tell_it(folder):
    for made in (page([folder]), markdown([folder]), model_card([folder])):
        assert "Life cycle" in made
        assert "not measured" in made
        assert all(step.name in made for step in STEPS)


def test_several_runs_share_sentences(folder, unattacked):
    shown, _, _ = about([folder, replace(folder, name="again"), unattacked], "Strategy")
    assert f"{folder.name}, again: " in shown


def test_no_run_is_refused():
    with pytest.raises(BadInput, match="at least one run"):
        life_cycle([])
