"""Training into folders: resumed exactly, refused where settings differ, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import certify
from certify.data.dataset import Dataset
from certify.errors import BadInput, ModelError
from certify.models.architecture import build
from certify.models.loaders import load_model
from certify.training import train as module_of_train
from certify.training.checkpoint import CHECKPOINT
from certify.training.recipe import RECIPES
from certify.training.seen import overlap
from certify.training.train import RECORD, Training, train


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return certify.load_data("digits:train").subset(200, seed=0)


class Interrupt(Exception):
    """Stands for a process that was killed."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ends a training after so many of its epochs, once their state is on disk."""
    original = module_of_train.save

    def after(most: int) -> None:
        def save(folder: Path, state: Any, asked: Any) -> None:
            original(folder, state, asked)
            if len(state.curve) >= most:
                raise Interrupt

        monkeypatch.setattr(module_of_train, "save", save)

    return after


def test_a_folder_is_a_model_that_says_where_it_comes_from(digits: Dataset, tmp_path: Path) -> None:
    folder = train("noise", digits, tmp_path / "net", seed=3, epochs=2, validation=0.2)
    classifier = load_model(str(folder))
    assert not any(child.training for child in classifier.module.modules())
    recipe = json.loads((folder / "model.json").read_text())["recipe"]
    assert recipe["seed"] == 3
    assert recipe["data"] == {"name": "digits train", "n": 200, "digest": digits.digest}
    assert RECIPES["noise"](**recipe["settings"]) == RECIPES["noise"](epochs=2)
    record = json.loads((folder / RECORD).read_text())
    assert record["asked"] == recipe
    assert len(record["curve"]) == 2
    assert all(np.isfinite(loss) and 0 <= kept <= 1 for loss, kept in record["curve"])
    assert record["cost"]["cpu_seconds"] >= 0
    assert not (folder / CHECKPOINT).exists()
    again = train("noise", digits, tmp_path / "again", seed=3, epochs=2, validation=0.2)
    for name in ("model.json", "model.safetensors", "seen.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("recipe", "validation", "more"),
    [
        ("ibp", 0.2, {"network": "cnn7", "network_option": {"width": 2, "units": 8}}),
        ("smoothadv", 0.0, {"network": "resnet8", "network_option": {"width": 4}}),
        ("smoothadv", 0.2, {}),
        ("lipschitz", 0.0, {"network_option": {"units": 16}}),
        ("lipschitz", 0.2, {"network_option": {"units": 16}}),
        ("denoise", 0.2, {"width": 4}),
    ],
)
def test_a_training_that_was_interrupted_ends_in_the_same_model(
    recipe: str, validation: float, more: dict[str, Any], digits: Dataset, tmp_path: Path, killed: Any
) -> None:
    if recipe == "denoise":
        more = {**more, "base": str(train("standard", digits, tmp_path / "base", network="resnet8", epochs=1))}
    asked = {"epochs": 4, "validation": validation, **more}
    with pytest.MonkeyPatch.context():
        whole = train(recipe, digits, tmp_path / "whole", **asked)
    for most in (1, 3):
        killed(most)
        with pytest.raises(Interrupt):
            train(recipe, digits, tmp_path / "parts", **asked)
        assert not (tmp_path / "parts" / "model.json").exists()
    killed(9)
    parts = train(recipe, digits, tmp_path / "parts", **asked)
    for name in ("model.json", "model.safetensors"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    curves = [json.loads((one / RECORD).read_text())["curve"] for one in (whole, parts)]
    assert curves[0] == curves[1]


def test_a_training_that_was_interrupted_while_its_model_was_written_goes_on(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Interrupt

    with monkeypatch.context() as patched:
        patched.setattr(module_of_train, "write_whole", killed)
        with pytest.raises(Interrupt):
            train("standard", digits, tmp_path / "net", epochs=1)
    assert (tmp_path / "net" / "model.json").exists()
    train("standard", digits, tmp_path / "net", epochs=1)
    assert (tmp_path / "net" / RECORD).exists()
    assert not (tmp_path / "net" / CHECKPOINT).exists()


def test_what_is_done_is_not_done_again(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train("standard", digits, tmp_path / "net", epochs=1)
    monkeypatch.setattr(module_of_train, "epochs", None)  # to train would fail
    assert train("standard", digits, tmp_path / "net", epochs=1) == folder


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"epochs": 3}, "epochs of settings was 2 and is 3"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"network": "mlp"}, "network was 'small' and is 'mlp'"),
        ({"network_option": {"width": 8}}, "width of network_option was None and is '8'"),
    ],
)
def test_another_training_in_the_same_folder_is_refused(
    other: dict[str, Any], said: str, digits: Dataset, tmp_path: Path, killed: Any
) -> None:
    asked: dict[str, Any] = {"epochs": 2}
    killed(1)
    with pytest.raises(Interrupt):
        train("standard", digits, tmp_path / "net", **asked)
    with pytest.raises(BadInput, match=f"was begun otherwise: {said}; choose another folder"):
        train("standard", digits, tmp_path / "net", **{**asked, **other})
    killed(9)
    train("standard", digits, tmp_path / "net", **asked)
    with pytest.raises(BadInput, match=f"was trained otherwise: {said}; choose another folder"):
        train("standard", digits, tmp_path / "net", **{**asked, **other})


def test_a_training_goes_on_on_the_device_that_it_was_begun_on(
    digits: Dataset, tmp_path: Path, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_train, "available", lambda device: torch.device("cpu"))
    killed(1)
    with pytest.raises(Interrupt):
        train("standard", digits, tmp_path / "net", epochs=2, device="cuda")
    with pytest.raises(BadInput, match="device was 'cuda' and is None; choose another folder"):
        train("standard", digits, tmp_path / "net", epochs=2)
    killed(9)
    train("standard", digits, tmp_path / "net", epochs=2, device="cuda")


def test_a_model_of_another_origin_is_not_replaced(digits: Dataset, tmp_path: Path) -> None:
    folder = train("standard", digits, tmp_path / "net", epochs=1)
    (folder / RECORD).unlink()
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(BadInput, match="holds a model of another origin"):
        train("standard", digits, folder, epochs=1)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_not_a_number_keeps_the_last_good_state(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"in epoch 1 of 3: training diverged; lower the learning rate$"):
        train("noise", digits, tmp_path / "first", epochs=3, learning_rate=1e30)
    assert not (tmp_path / "first").exists()

    broken = build([{"layer": "Flatten"}, {"layer": "Linear", "in_features": 64, "out_features": 10}])
    calls = []

    def later(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 10:  # in the third epoch of four steps each
            with torch.no_grad():
                broken[1].weight.fill_(torch.nan)

    broken.register_forward_pre_hook(later)
    with pytest.raises(ModelError, match=r"in epoch 3 of 4: .* the state after epoch 2 is kept in"):
        train("standard", digits, tmp_path / "later", network=broken, epochs=4)
    assert (tmp_path / "later" / CHECKPOINT).exists()
    assert not (tmp_path / "later" / "model.safetensors").exists()


def test_the_best_epoch_on_what_is_held_out_becomes_the_model(digits: Dataset, tmp_path: Path) -> None:
    folder = train("standard", digits, tmp_path / "net", epochs=40, learning_rate=0.01, validation=0.3, patience=3)
    record = json.loads((folder / RECORD).read_text())
    kept = [kept for _, kept in record["curve"]]
    assert record["chosen_epoch"] == kept.index(max(kept)) + 1
    assert len(kept) == record["chosen_epoch"] + 3 < 40
    _, held_out = Training(RECIPES["standard"](), folder, validation=0.3)._parts(digits)
    right = load_model(str(folder)).predict(torch.from_numpy(held_out.x)).numpy() == held_out.y
    assert right.mean() == pytest.approx(max(kept))
    assert kept[-1] < max(kept)  # so that the last state would be seen to be another
    found = overlap(folder, digits)
    assert found.trained == 140
    assert found.held_out == 60
    assert overlap(folder, certify.load_data("digits")).held_out == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"batch_size": 300}, "200 inputs to train on are fewer than one batch of 300"),
        ({"validation": 0.9}, "validation is a share of the data"),
        ({"validation": 0.001, "patience": 3}, "validation 0.001 of 200 inputs holds out none"),
        ({"network_option": {"num_classes": 3}}, "num_classes of a network is that of the data"),
        ({"patience": 3}, "patience needs inputs that are held out"),
        ({"network": "cnn9"}, "unknown network 'cnn9'"),
        ({"network": "cnn4", "network_option": {"wdth": 3}}, "has no setting 'wdth'; did you mean 'width'"),
        (
            {"network": "resnet20", "network_option": {"width": 4}, "sigma": 1},
            "recipe 'standard' has no setting 'sigma'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    asked: dict[str, Any], said: str, digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        train("standard", digits, tmp_path / "net", **asked)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "net").exists()


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_trained(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").touch()
    monkeypatch.setattr(module_of_train, "epochs", None)  # to train would fail
    with pytest.raises(BadInput, match="net is no folder: choose another"):
        train("standard", digits, tmp_path / "net", epochs=1)


def test_classes_without_inputs_are_refused(digits: Dataset, tmp_path: Path) -> None:
    gap = Dataset("from one", digits.x, digits.y + 1, num_classes=11)
    with pytest.raises(BadInput, match="no input has label 0, and labels are 0 to 10"):
        train("standard", gap, tmp_path / "net")


def test_a_network_of_ones_own_is_trained_by_name(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.GELU())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = torch.get_rng_state()
    folder = train("standard", digits, tmp_path / "net", network="own_nets:net", epochs=10, learning_rate=0.01)
    again = train("standard", digits, tmp_path / "again", network="own_nets:net", epochs=10, learning_rate=0.01)
    assert torch.equal(torch.get_rng_state(), before)
    assert (folder / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    loaded = load_model(f"own_nets:net@{folder}/model.safetensors", num_classes=10)
    assert loaded.predict(torch.from_numpy(digits.x)).eq(torch.from_numpy(digits.y)).float().mean() > 0.5


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_is_one_clear_line(
    damage: bytes | None, digits: Dataset, tmp_path: Path, killed: Any
) -> None:
    killed(1)
    with pytest.raises(Interrupt):
        train("standard", digits, tmp_path / "net", epochs=2)
    path = tmp_path / "net" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-10] if damage is None else damage)
    with pytest.raises(ModelError, match="is corrupt .*; delete it and train again"):
        train("standard", digits, tmp_path / "net", epochs=2)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("best_epoch", 9),
        ("best_epoch", -1),
        ("curve", []),
        ("curve", [[1.0, float("nan")]]),
        ("module/1.bias", None),
        ("module/1.bias", torch.zeros(3)),
        ("best/1.bias", torch.zeros(3)),
        ("optimiser.0/exp_avg", None),
        ("optimiser.0/exp_avg", torch.zeros(3)),
        ("optimiser.0/step", torch.tensor(-5.0)),
    ],
)
def test_a_checkpoint_that_cannot_be_is_one_clear_line(
    part: str, value: Any, digits: Dataset, tmp_path: Path, killed: Any
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    asked: dict[str, Any] = {"network": "mlp", "validation": 0.2, "epochs": 2}
    killed(1)
    with pytest.raises(Interrupt):
        train("standard", digits, tmp_path / "net", **asked)
    path = tmp_path / "net" / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["training"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    if part in about:
        about[part] = value
    elif value is None:
        del tensors[part]
    else:
        tensors[part] = value
    save_file(tensors, path, {"training": json.dumps(about)})
    with pytest.raises(ModelError, match="is corrupt .*; delete it and train again"):
        train("standard", digits, tmp_path / "net", **asked)


def test_two_trainings_at_once_in_one_folder_are_refused(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, refused = module_of_train.save, []

    def meanwhile(folder: Path, state: Any, asked: Any) -> None:
        with pytest.raises(BadInput, match="another process is at work in") as problem:
            train("standard", digits, folder, epochs=1, seed=1)
        refused.append(problem)
        original(folder, state, asked)

    monkeypatch.setattr(module_of_train, "save", meanwhile)
    folder = train("standard", digits, tmp_path / "net", epochs=1)
    assert len(refused) == 1
    assert json.loads((folder / RECORD).read_text())["asked"]["seed"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells workers that their parent has ended")
def test_workers_end_with_a_training_that_is_killed(tmp_path: Path) -> None:
    words = ["train", "standard", "--data", "digits:train", "--setting", "epochs=1000000", "--seeds", "2", "--quiet"]
    code = f"from certify.cli import main; main({[*words, '--workers', '2', '--out', str(tmp_path / 'nets')]!r})"
    command = [sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as training:
        begun = [tmp_path / "nets" / f"seed-{seed}" / CHECKPOINT for seed in range(2)]
        while not all(one.exists() for one in begun):
            assert training.poll() is None
            time.sleep(0.05)
        training.kill()
    try:
        for _ in range(600):
            os.killpg(training.pid, 0)
            time.sleep(0.05)
    except ProcessLookupError:
        return
    os.killpg(training.pid, signal.SIGKILL)
    raise AssertionError("workers went on")
