"""``certify shift``: text alone on standard output, pictures, and one line with code 2 for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    module = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    x = np.random.default_rng(0).uniform(0, 1, (60, 2)).astype(np.float32)
    y = (x[:, 1] > x[:, 0]).astype(np.int64)
    out = tmp_path_factory.mktemp("runs") / "run"
    certify.evaluate(
        certify.Classifier(module, 2), (x, y), threat=certify.ThreatModel("linf", (0.0, 0.1)), certifier="ibp", out=out
    )
    return out


def test_the_answer_is_alone_on_standard_output(made, tmp_path, capsys):
    command = ["shift", str(made), "--threshold", "0.6", "--shares", "0=0.5,1=0.5", "--measure", "total_variation"]
    for name in ("a.svg", "b.svg", "c.png"):
        assert main([*command, "--plot", str(tmp_path / name), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "\n}")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    direct = certify.shift_run(made, threshold=0.6, shares={0: 0.5, 1: 0.5}, measures=["total_variation"])
    assert found == json.loads(json.dumps(direct.to_dict()))
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == direct.table() + "\n"
    assert err == ""


def test_amounts_and_radii(made, capsys):
    assert (
        main(["shift", str(made), "--measure", "kl", "--amounts", "0.3,0.1", "--radii", "0.05", "--format", "json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["radii"] == [0.05]
    assert [one["amounts"] for one in found["curves"]] == [[0.1, 0.3]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--measure", "total_variation", "--amounts", "1.2"], "lies between 0 and 1, got 1.2"),
        (["--measure", "total_variation", "--amounts", "-0.1"], "lies between 0 and 1, got -0.1"),
        (["--measure", "total_variation", "--amounts", "much"], "numbers separated by commas"),
        (["--amounts", "0.1"], "those of one measure"),
        (["--measure", "tv"], "unknown measure 'tv'"),
        (["--shares", "0=0.5,1=0.4"], "must add up to 1"),
        (["--shares", "0=0.5,9=0.5"], "unknown label '9'"),
        (["--weights", "none.npz:w"], "there is no file"),
        (["--sample", "none.csv:label"], "there is no file"),
        (["--threshold", "60"], "60 % is 0.6"),
        (["--format", "pdf"], "unknown shift format"),
        (["--plot", "curve.txt"], "none of .svg"),
    ],
)
def test_what_cannot_be_is_one_line(made, capsys, options, said):
    assert main(["shift", str(made), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_the_page_has_a_section(made, tmp_path):
    from certify.report.page.page import page

    text = page([certify.read_run(made)])
    assert 'id="shift"' in text
    assert "Certified accuracy under shift" in text
    assert certify.shift_run(made).statements[0] in text
