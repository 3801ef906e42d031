"""New data beside those of a run: what is seen, what is said, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import certify
from certify.cli import main
from certify.deployment.compare_data import _together
from certify.deployment.samples import DATA_FORMATS, Sample, compare_samples
from certify.errors import BadInput

NETS = """
import torch
from torch import nn

def build():
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
        net.bias.copy_(torch.tensor([1.05, -1.05]))
    return net.eval()
"""
BUILD = "shifted_nets:build"


def write(path: Path, n: int, seed: int, moved: float = 0.0, features: int = 3) -> None:
    x = np.random.default_rng(seed).uniform(0, 0.7, (n, features))
    x[:, 0] += moved
    np.savez(path, x=x.astype(np.float32), y=(x.sum(axis=1) > 1.05).astype(np.int64))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Runs on 120 inputs, on others drawn alike, and on moved ones, and data files beside them."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "shifted_nets.py").write_text(NETS)
    write(folder / "wide.npz", 40, 1, features=4)
    write(folder / "few.npz", 5, 1)
    write(folder / "outside.npz", 40, 1, moved=5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for name, seed, moved in (("old", 0, 0.0), ("alike", 1, 0.0), ("moved", 2, 0.25)):
            write(folder / f"{name}.npz", 120, seed, moved)
            command = ["run", "--model", BUILD, "--data", f"npz:{folder / name}.npz", "--certifier", "ibp"]
            assert main([*command, "--radii", "0,0.05", "--norm", "linf", "--out", str(folder / name), "--quiet"]) == 0
    return folder


@pytest.fixture(autouse=True)
def importable(made, monkeypatch):
    monkeypatch.syspath_prepend(str(made))


def test_moved_data_are_seen_and_named(made):
    found = certify.compare_data(made / "old", f"npz:{made / 'moved'}.npz", model=BUILD)
    assert found.moved
    assert [one.test for one in found.tests if one.moved] == ["features", "classifier"]
    assert [one.feature for one in found.features] == ["0"]
    assert found.features[0].after - found.features[0].before == pytest.approx(0.25, abs=0.05)
    assert "not drawn as" in found.verdict
    assert any("interval bounds" in note for note in found.notes)
    assert [one.test for one in found.tests] == ["features", "margins", "certified radii", "classifier"]
    assert not found.foreign  # a fifth of them could have been drawn before


def test_foreign_inputs_are_named():
    draw = np.random.default_rng(4)
    old = Sample("old", draw.normal(size=(400, 3)), np.arange(400))
    x = np.concatenate([draw.normal(size=(40, 3)), draw.normal(6, 1, size=(20, 3))])
    found = compare_samples(old, Sample("new", x, np.arange(100, 160)))
    assert {one.index for one in found.foreign} >= set(range(140, 160))
    assert len(found.foreign) <= 23
    assert found.foreign[0].score == max(one.score for one in found.inputs)
    assert "Foreign inputs: 2" in found.table()
    assert any("before 6 are farther" in note for note in found.notes)
    alone = compare_samples(old, Sample("new", x[-9:], np.arange(9)), level=0.0001)
    assert any("no single input can be named" in note for note in alone.notes)


def test_data_drawn_alike_are_not_told_apart_and_radii_come_from_a_second_run(made):
    found = certify.compare_data(made / "old", made / "alike", model=BUILD)
    assert not found.moved
    assert [one.test for one in found.tests] == ["features", "margins", "certified radii", "classifier"]
    assert "proves no likeness" in found.verdict
    assert not found.features
    again = certify.compare_data(made / "old", made / "alike", model=BUILD)
    assert again.to_dict() == found.to_dict()
    same = certify.compare_data(made / "old", np.load(made / "alike.npz")["x"], model=BUILD)
    assert same.tests[0] == found.tests[0]
    assert same.inputs == found.inputs


def test_the_run_beside_itself_and_a_model_that_only_the_manifest_names(made):
    found = certify.compare_data(made / "old", made / "old")
    assert not found.moved
    assert found.tests[0].p_value == 1
    assert any("120 of the new inputs are inputs of the run" in note for note in found.notes)
    assert any("Margins are not compared" in note for note in found.notes)


def test_formats_and_exit_codes(made, tmp_path, capsys):
    command = ["compare-data", str(made / "old"), str(made / "moved"), "--model", BUILD]
    for name in ("a.svg", "b.svg", "c.png"):
        assert main([*command, "--plot", str(tmp_path / name), "--format", "json"]) == 1
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    capsys.readouterr()
    assert main([*command, "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "moved"
    assert len(told["inputs"]) == 120
    found = certify.compare_data(made / "old", made / "moved", model=BUILD)
    assert told == json.loads(json.dumps(found.to_dict()))
    for format in ("table", "markdown", "html", "latex"):
        text = " ".join(found.render(format).split())
        assert "exchangeable" in text
        assert found.verdict in text
    assert set(DATA_FORMATS) == {"table", "markdown", "html", "latex", "json"}
    assert main(["compare-data", str(made / "old"), str(made / "alike"), "--model", BUILD]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ("npz:wide.npz", [], "shape (3,), those of"),
        ("npz:few.npz", [], "5 inputs; tests need at least 8"),
        ("npz:none.npz", [], "none.npz"),
        ("npz:outside.npz", [], "input"),
        ("npz:alike.npz", ["--level", "1.5"], "strictly between 0 and 1"),
        ("npz:alike.npz", ["--data", "npz:moved.npz"], "not those of"),
        ("npz:alike.npz", ["--format", "pdf"], "unknown data format"),
        ("npz:alike.npz", ["--plot", "a.txt"], "none of .svg"),
    ],
)
def test_what_cannot_be_compared_is_one_line(made, monkeypatch, capsys, data, options, said):
    monkeypatch.chdir(made)
    assert main(["compare-data", "old", data, "--model", BUILD, *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_alike_samples_are_called_moved_at_most_at_the_level():
    draw, runs, alarms, shares = np.random.default_rng(0), 60, 0, []
    for _ in range(runs):
        x = draw.normal(size=(40, 2))
        found = compare_samples(
            *(Sample(name, x[rows], np.arange(20)) for name, rows in (("a", slice(20)), ("b", slice(20, 40)))),
            level=0.2,
        )
        alarms += found.moved
        shares.append(bool(found.foreign))
    assert alarms <= 21  # P[Binomial(60, 0.2) > 21] < 0.001
    assert sum(shares) <= 21  # nobody is foreign here: each discovery is a false one


def test_margins_without_an_end_and_features_without_a_difference_are_compared():
    draw, rows = np.random.default_rng(2), np.zeros((20, 2))
    ends = np.repeat([-np.inf, np.inf], 10)
    found = compare_samples(
        Sample("a", rows, np.arange(20), margins=ends), Sample("b", rows, np.arange(20), margins=draw.permutation(ends))
    )
    assert [one.p_value for one in found.tests[:2]] == [1.0, 1.0]


def test_what_a_model_says_of_an_input_by_its_place_moves_nothing():
    rows = np.zeros((40, 2))
    old, new = Sample("a", rows, np.arange(40)), Sample("b", rows[:9], np.arange(9))
    ours, theirs = _together(old, new, lambda x: np.arange(len(x)))
    assert not compare_samples(replace(old, margins=ours), replace(new, margins=theirs)).moved
    assert sorted([*ours, *theirs]) == list(range(49))


def test_many_inputs_and_features_are_thinned_and_it_is_said(monkeypatch):
    monkeypatch.setattr("certify.deployment.samples.MOST_INPUTS", 30)
    monkeypatch.setattr("certify.deployment.samples.MOST_FEATURES", 10)
    draw = np.random.default_rng(1)
    old = Sample("a", draw.normal(size=(60, 1, 6, 6)), np.arange(60))
    new = replace(old, name="b", x=draw.normal(size=(30, 1, 6, 6)), index=np.arange(30))
    found = compare_samples(old, new)
    assert found.of == 10
    assert len(found.notes) == 3
    assert len(found.inputs) == 30
    with pytest.raises(BadInput, match="shape"):
        compare_samples(old, replace(new, x=np.zeros((30, 3))))
