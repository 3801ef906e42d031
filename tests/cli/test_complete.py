"""`certify run --certifier complete`: flags or keys, resumed, summed up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from certify.cli import main

MODEL = """
import torch
from torch import nn

def net():
    module = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    return module
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "plain_net.py").write_text(MODEL)
    np.savez(tmp_path / "few.npz", x=np.float32([[0.9, 0.1], [0.6, 0.4]]), y=np.array([0, 0]))
    monkeypatch.chdir(tmp_path)


NET = ["--model", "plain_net:net", "--data", "npz:few.npz", "--norm", "linf"]


def test_flags_and_keys_make_the_same_run(here, tmp_path, capsys):
    asked = ["--certifier", "complete", "--radii", "0.05,0.2", "--timeout", "10", "--gap", "0.02", "--seed", "1"]
    assert main(["run", *NET, *asked, "--out", "run"]) == 0
    (tmp_path / "study.toml").write_text(
        'model = "plain_net:net"\ndata = "npz:few.npz"\nnorm = "linf"\ncertifier = "complete"\nradii = [0.05, 0.2]\n'
        'timeout = 10\ngap = 0.02\nseed = 1\nout = "run"\n'
    )
    assert main(["run", "study.toml"]) == 0
    capsys.readouterr()
    assert main(["summary", "run", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["certified"], row["empirical"]) for row in rows] == [(1.0, 1.0), (0.5, 0.5)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--timeout", "0"], "time limit must be finite and above 0"),
        (["--gap", "0"], "the gap is relative"),
        (["--sigma", "1"], "sigma"),
    ],
)
def test_settings_that_mean_nothing_are_one_line(here, capsys, flags, words):
    assert main(["run", *NET, "--certifier", "complete", "--radii", "0.1", "--out", "run", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.strip().count("\n") == 0
