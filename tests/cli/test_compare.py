"""``certify compare`` on real run folders: paired figures, a picture, and refusals that name the difference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main


def evaluate(out: Path, *, tilt: float = 0.0, norm: str = "l2", box=(0.0, 1.0), radii=(0.0, 0.1), seed=0, **options):
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
        module.bias.copy_(torch.tensor([tilt, 0.0]))
    clf = certify.Classifier(module.eval(), num_classes=2, input_box=box)
    x = np.random.default_rng(seed).uniform(0, 1, (50, 2)).astype(np.float32)
    y = (x[:, 1] > x[:, 0]).astype(np.int64)
    units = options.pop("units", "input units")
    threat = certify.ThreatModel(norm, radii, units=units)
    certify.evaluate(clf, (x, y), threat=threat, out=out, **({"certifier": "crown"} | options))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    evaluate(folder / "old")
    evaluate(folder / "new", tilt=0.05, attack="fgsm")
    evaluate(folder / "smoothed", certifier="smoothing", sigma=0.25, n=300)
    evaluate(folder / "linf", norm="linf")
    evaluate(folder / "boxed", box=(-1.0, 2.0))
    evaluate(folder / "volts", units="volts")
    evaluate(folder / "others", seed=1)
    evaluate(folder / "farther", radii=(0.2, 0.3))
    return folder


def test_the_baseline_comes_first_and_every_input_is_paired(made, capsys):
    folders = [str(made / name) for name in ("old", "new", "smoothed")]
    assert main(["compare", *folders, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["baseline"] == "old"
    assert [(one["run"], one["radius"]) for one in found["changes"]] == [
        ("new", 0.0),
        ("new", 0.1),
        ("smoothed", 0.0),
        ("smoothed", 0.1),
    ]
    for one in found["changes"]:
        assert one["both"] + one["neither"] + len(one["lost"]) + len(one["gained"]) == 50
        assert one["lower"] <= one["difference"] <= one["upper"]
    assert main(["compare", *folders]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "compared with old on the same 50 inputs: l2 radius in input units, inputs in [0, 1]" in text
    assert "The certificates are about different functions" in text
    assert "smoothed: about the SMOOTHED model" in text


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("linf", "the norm is l2 and linf"),
        ("boxed", "the input box is [0, 1] and [-1, 2]"),
        ("volts", "the units are 'input units' and 'volts'"),
        ("others", "of 50 inputs are labelled differently"),
        ("farther", "share no radius (old 0, 0.1; farther 0.2, 0.3)"),
        ("old", "each of them once"),
        ("absent", "is not a run folder"),
    ],
)
def test_runs_that_are_about_something_else_are_refused(made, capsys, other, words):
    assert main(["compare", str(made / "old"), str(made / other)]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_other_radii_can_be_asked_for_where_all_runs_decide_them(made, capsys):
    asked = ["compare", str(made / "old"), str(made / "farther"), "--format", "json", "--radii"]
    assert main([*asked, "0.2,0.3"]) == 0
    assert [one["radius"] for one in json.loads(capsys.readouterr().out)["changes"]] == [0.2, 0.3]
    assert main([*asked, "0.1"]) == 2
    assert "below the smallest declared radius" in capsys.readouterr().err


def test_the_picture_is_drawn_twice_alike(made, tmp_path, capsys):
    runs = [str(made / "old"), str(made / "new")]
    for suffix in ("svg", "png", "pdf"):
        files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for file in files:
            assert main(["compare", *runs, "--plot", str(file), "--radius", "0.1"]) == 0
        assert files[0].read_bytes() == files[1].read_bytes()
    svg = (tmp_path / "a.svg").read_text()
    assert "certified at l2 0.1" in svg
    assert ">old<" in svg
    assert ">new<" in svg
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plot", "x.gif"], "--plot x.gif is none of .svg"),
        (["--radius", "0.1"], "--radius is that of a plot"),
        (["--plot", "x.svg", "--radius", "0.7"], "radius 0.7 is none of the comparison's: 0, 0.1"),
        (["--plot", "no/x.svg"], "--plot no/x.svg: there is no folder no"),
        (["--format", "tabel"], "did you mean 'table'?"),
        (["--test", "tang"], "did you mean 'tango'?"),
    ],
)
def test_what_cannot_be_done_is_one_line(made, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(made / "old"), str(made / "new"), *arguments]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_one_run_is_no_comparison(made, capsys):
    assert main(["compare", str(made / "old")]) == 2
    assert "name at least two" in capsys.readouterr().err
