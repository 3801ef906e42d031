"""Runs of a model in another arithmetic: named by the manifest, resumed and checked as they were made, never mixed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main
from certify.models import arithmetic


def net():
    """A model that a SPEC can name."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


def data():
    """Data that a SPEC can name."""
    x = np.random.default_rng(0).uniform(0, 1, (64, 6)).astype(np.float32)
    return x, net()(torch.from_numpy(x)).argmax(dim=1).numpy()


def executed():
    """A model that states its arithmetic itself."""
    return certify.Classifier(net(), 2, precision="bfloat16")


NAMED = ["--model", "tests.cli.test_precision:net", "--data", "tests.cli.test_precision:data"]
STUDY = """
input-box = [0, 1]
radii = [0, 0.02]
sigma = 0.05
n = 300
attack = "fgsm"
seed = 0
"""


def test_a_run_is_resumed_and_checked_in_its_own_arithmetic(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(arithmetic, "BACKEND", "eager")
    study, out = tmp_path / "study.toml", str(tmp_path / "run")
    study.write_text(f'{STUDY}precision = "bfloat16"\ncompile = true\n')
    command = ["run", str(study), *NAMED, "--quiet", "--limit", "6", "--out"]
    assert main([*command, out]) == 0
    model = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]["model"]
    assert model["name"] == "tests.cli.test_precision:net (bfloat16, compiled)"
    assert (model["precision"], model["compile"]) == ("bfloat16", True)
    assert main([*command, out]) == 0
    assert main(["check", out, *NAMED, "--replay", "3", "--quiet"]) == 0
    capsys.readouterr()
    study.write_text(STUDY)
    assert main([*command, out]) == 2
    assert "made with other settings" in (said := capsys.readouterr().err)
    assert "model.compile" in said
    assert "model.precision" in said
    assert main([*command, str(tmp_path / "plain")]) == 0
    capsys.readouterr()
    assert main(["compare", out, str(tmp_path / "plain")]) == 0
    assert f"models: {model['name']} (run)" in capsys.readouterr().out


def test_a_manifest_that_hides_how_its_model_is_executed_is_refuted(tmp_path, capsys):
    out, x = tmp_path / "run", data()[0][:2]
    clf = executed()
    threat = certify.ThreatModel("l2", (0.0, 0.02))
    certify.evaluate(clf, (x, clf.predict(torch.from_numpy(x))), threat=threat, sigma=0.05, n=200, seed=0, out=out)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["settings"]["model"]["precision"], manifest["settings"]["model"]["compile"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert main(["check", str(out), "--model", "tests.cli.test_precision:executed", "--quiet"]) == 1
    assert "the manifest does not say so" in " ".join(capsys.readouterr().out.split())


def test_parts_in_different_arithmetic_are_not_merged(tmp_path, capsys):
    study, parts = tmp_path / "study.toml", [str(tmp_path / part) for part in "ab"]
    study.write_text(STUDY)
    for number, (part, precision) in enumerate(zip(parts, ("float32", "bfloat16"), strict=True)):
        asked = ["--shard", f"{number}/2", "--precision", precision, "--out", part]
        assert main(["run", str(study), *NAMED, *asked, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["merge", *parts, "--out", str(tmp_path / "whole")]) == 2
    assert "model.precision" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision", "tf32"], "for a CUDA device"),
        (["--precision", "bf16"], "did you mean 'bfloat16'"),
        (
            ["--precision", "bfloat16", "--certifier", "crown", "--norm", "linf"],
            "a proof is about the network in plain float32",
        ),
    ],
)
def test_what_cannot_be_is_one_line(flags, words, tmp_path, capsys):
    rest = [] if "--certifier" in flags else ["--sigma", "0.1"]
    assert (
        main(["run", *NAMED, "--radii", "0,0.02", "--input-box", "0,1", *rest, *flags, "--out", str(tmp_path / "run")])
        == 2
    )
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
