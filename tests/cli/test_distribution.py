"""``certify distribution`` on real run folders: an exact radius lies in its band, and bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main


def evaluate(out: Path, *, gain: float = 1.0, seed: int = 0, index: int = 0, n: int = 12, **options) -> None:
    """The critical radius of an input of this network is half the difference of its two features."""
    module = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(gain * torch.eye(2))
    x = np.random.default_rng(seed).uniform(0.2, 0.8, (n, 2)).astype(np.float32)
    y = (x[:, 1] > x[:, 0]).astype(np.int64)
    y[0] = 1 - y[0]
    options = {"certifier": "complete", "gap": 0.01, "timeout": 20.0, "seed": 0} | options
    threat = options.pop("threat", certify.ThreatModel("linf", (0.0, 0.2)))
    certify.evaluate(certify.Classifier(module, 2, input_box=(0.0, 1.0)), (x, y), threat=threat, out=out, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    evaluate(folder / "one")
    evaluate(folder / "two", gain=2.0)
    evaluate(folder / "l2", threat=certify.ThreatModel("l2", (0.0, 0.2)), n=3)
    return folder


def test_exact_radii_lie_in_their_brackets(made, capsys):
    assert main(["distribution", str(made / "one"), str(made / "two"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    x = np.random.default_rng(0).uniform(0.2, 0.8, (12, 2)).astype(np.float32).astype(float)
    radii = np.abs(x[:, 0] - x[:, 1]) / 2
    radii[0] = 0.0
    for one in found["distributions"]:
        assert (one["n"], one["wrong"]) == (12, 1)
        curve = one["curve"]
        share = [np.mean(radii <= place) for place in curve["radius"]]
        assert all(low <= true <= high for low, true, high in zip(curve["lower"], share, curve["upper"], strict=True))
        for quantile in one["quantiles"]:
            assert quantile["lower"] <= np.sort(radii)[int(np.ceil(12 * quantile["share"])) - 1] <= quantile["upper"]
            assert quantile["upper"] - quantile["lower"] <= 0.011 * quantile["upper"]
    [pair] = found["pairs"]
    assert (pair["test"], pair["equal"], pair["differs"]) == ("sign", 1, False)  # one network, scaled


def test_the_table_is_the_same_in_a_file_and_the_picture_twice_alike(made, tmp_path, capsys):
    command = ["distribution", str(made / "one"), str(made / "two")]
    for name in ("a.svg", "b.svg", "c.png"):
        assert main([*command, "--plot", str(tmp_path / name)]) == 0
        text = capsys.readouterr().out
        assert text.startswith("Quantiles of the critical linf radius in input units of these inputs")
        assert "\x1b" not in text
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_published_brackets_are_held_against_ours(made, tmp_path, capsys):
    file = tmp_path / "published.csv"
    file.write_text("model,index,lower,upper\none,1,0.9,0.95\none,2,0,1\n")
    assert main(["distribution", str(made / "one"), "--published", str(file)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "REFUTED: 1 of 2 published lower ends of one: input 1 called verified up to 0.9" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{one}", "{l2}"], "the norm is linf and l2"),
        (["{one}", "{one}"], "each of them once"),
        (["{absent}"], "is not a run folder"),
        (["{one}", "--format", "yaml"], "unknown distribution format 'yaml'"),
        (["{one}", "--plot", "x.gif"], "--plot x.gif is none of .svg, .png, .pdf"),
        (["{one}", "--plot", "{one}/run.sqlite.svg/x.svg"], "there is no folder"),
        (["{one}", "--published", "{absent}.csv"], "there is no file"),
        (["{one}", "--published", "{one}/manifest.json"], "cells where there are"),
        (["{one}", "--published", "{one}/run.sqlite"], "cannot read"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line(made, capsys, arguments, words):
    places = {name: made / name for name in ("one", "l2", "absent")}
    assert main(["distribution", *(text.format(**places) for text in arguments)]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not printed.out
