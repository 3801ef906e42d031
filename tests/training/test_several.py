"""Several trainings side by side or one after the other: one that fails takes no other with it."""

from __future__ import annotations

from pathlib import Path

import pytest

import certify
from certify.cli import main
from certify.errors import BadInput, ModelError
from certify.training.recipes.standard import Standard
from certify.training.several import of_folds, of_seeds, train_all
from certify.training.train import Training


def test_one_that_fails_is_named_after_the_others_were_finished(tmp_path: Path) -> None:
    data = certify.load_data("digits:train").subset(80, seed=0)
    trainings = of_seeds(Training(Standard(epochs=1), tmp_path, "mlp", {"hidden": (4,)}), 3)
    trainings[0].out.mkdir()
    (trainings[0].out / "checkpoint.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="seed-0/checkpoint.safetensors is corrupt"):
        train_all(trainings, data, 1, lambda count, note: None)
    assert [(one.out / "model.json").exists() for one in trainings] == [False, True, True]


def test_folders_that_would_hide_models_are_refused(tmp_path: Path) -> None:
    one = Training(Standard(epochs=1), tmp_path, seed=-1)
    with pytest.raises(BadInput, match="first of several seeds must be at least 0, got -1"):
        of_seeds(one, 2)
    (tmp_path / "training.json").touch()
    for several in (of_seeds, of_folds):
        with pytest.raises(BadInput, match="holds one model itself"):
            several(Training(Standard(epochs=1), tmp_path), 2)


def test_what_is_said_to_be_next_names_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "next_net.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["train", "standard", "--data", "digits:train", "--setting", "epochs=1", "--out", "net"]
    assert main([*words, "--network", "next_net:build"]) == 0
    assert "next: certify run --model next_net:build@net --data" in capsys.readouterr().err
    run = ["--data", "digits", "--limit", "4", "--certifier", "ibp", "--radii", "0,0.01", "--quiet"]
    assert main(["run", "--model", "next_net:build@net", *run, "--out", "run"]) == 0
