"""Model SPECs: folders that come back as they were saved, named functions with weights, and refusals in one line."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from certify.errors import BadInput, CertifyError, ModelError
from certify.models.architecture import LAYERS, build, describe
from certify.models.blocks import Abs, Mean, Residual
from certify.models.classifier import Classifier
from certify.models.folder import save_folder
from certify.models.loaders import load_model

EXAMPLES = {
    "Conv2d": nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, bias=False),
    "Linear": nn.Linear(3, 2, bias=False),
    "BatchNorm1d": nn.BatchNorm1d(3, eps=1e-3),
    "BatchNorm2d": nn.BatchNorm2d(3, eps=1e-3),
    "AvgPool2d": nn.AvgPool2d(2, padding=1, count_include_pad=False),
    "MaxPool2d": nn.MaxPool2d((2, 3), ceil_mode=True),
    "Flatten": nn.Flatten(2),
    "ReLU": nn.ReLU(),
    "LeakyReLU": nn.LeakyReLU(0.2),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "Abs": Abs(),
    "Sequential": nn.Sequential(nn.Sequential(nn.Linear(3, 2)), nn.Sequential()),
    "Residual": Residual(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()), nn.Sequential()),
    "Mean": Mean([nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 4), Abs(), nn.Linear(4, 2))]),
}


def small() -> nn.Sequential:
    layers = describe(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)))
    return build(layers, seed=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recipe = {"name": "by hand", "seed": 5}
    return save_folder(
        tmp_path / "net", small(), num_classes=3, input_box=(0.0, 2.0), input_shape=(1, 4, 4), recipe=recipe
    )


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer_of_the_vocabulary_survives_json(name: str) -> None:
    assert name in EXAMPLES, f"give the layer {name} an example here"
    described = describe(nn.Sequential(EXAMPLES[name]))
    again = build(json.loads(json.dumps(described)))
    assert describe(again) == described
    assert repr(again[0]) == repr(EXAMPLES[name])
    assert {n: t.shape for n, t in again[0].state_dict().items()} == {
        n: t.shape for n, t in EXAMPLES[name].state_dict().items()
    }


def test_initial_weights_come_from_the_seed_and_leave_the_global_generator_alone() -> None:
    layers, before = describe(small()), torch.get_rng_state()
    first, again, other = (build(layers, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert first[4].weight.abs().max() <= 8**-0.5
    assert all(torch.isfinite(tensor).all() for tensor in first.state_dict().values())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"layer": "Linaer"}], "layer 0 is 'Linaer'.* did you mean 'Linear'"),
        ([{"layer": "ReLU"}, {"layer": "Linear", "in": 3}], "layer 1 .Linear. has no setting 'in'"),
        ([{"layer": "Linear", "in_features": 3}], "cannot be built: TypeError"),
        ([{"layer": "Linear", "in_features": -3, "out_features": 2}], "has in_features -3; it must be a whole number"),
        ([{"layer": "Conv2d", "in_channels": 1, "out_channels": 0, "kernel_size": 3}], "has out_channels 0; it must"),
        (
            [{"layer": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": -3}],
            "has kernel_size -3; it must be a whole number above 0",
        ),
        ([{"in_features": 3}], "layer 0 is None"),
    ],
)
def test_a_layer_outside_the_vocabulary_is_refused(layers: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ModelError, match=rf"^[^\n]*{message}[^\n]*$"):
        build(layers)


@pytest.mark.parametrize("layer", [nn.GELU(), nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Identity()])
def test_a_module_that_cannot_be_described_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"not in the vocabulary|a setting that model files do not record"):
        describe(nn.Sequential(layer))


def test_a_saved_model_comes_back_the_same(folder: Path) -> None:
    classifier = load_model(str(folder))
    assert (classifier.num_classes, classifier.input_box, classifier.name) == (3, (0.0, 2.0), "net")
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(classifier.scores(x), small()(x))
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    record = json.loads((folder / "model.json").read_text())
    assert record["digest"] == classifier.digest
    assert record["recipe"] == {"name": "by hand", "seed": 5}


def test_an_altered_model_is_refused(folder: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in small().state_dict().items()}
    weights["4.bias"][0] += 1e-6
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"was altered: model.json records digest"):
        load_model(str(folder))


@pytest.mark.parametrize("content", ["", "[]", "{", "null", "\x00", '{"format": 1}'])
def test_a_corrupt_model_json_is_named_in_one_line(content: str, folder: Path) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(
        ModelError, match=rf"^{re.escape(str(folder))}/model.json is corrupt [^\n]*train the model again$"
    ):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"layers": [3]}, "layer 0 is 3"),
        ({"layers": [{"layer": ["ReLU"]}]}, "not in the vocabulary"),
        ({"layers": [{"layer": "Linear", "in_features": 10**9, "out_features": 10**9}]}, "too large to build"),
        ({"layers": [{"layer": "Linear", "in_features": 2**18, "out_features": 2**18}]}, "too large to build"),
        ({"layers": [{"layer": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 0}]}, "kernel_size 0"),
        ({"layers": [{"layer": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": [3, 0]}]}, "kernel_size"),
        ({"input_box": [1]}, "input box is two numbers"),
        ({"num_classes": "many"}, "ValueError"),
        ({"digest": "0"}, "was altered"),
    ],
)
def test_a_wrong_entry_of_model_json_is_named_in_one_line(
    change: dict[str, object], message: str, folder: Path
) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | change))
    with pytest.raises(ModelError, match=rf"^{re.escape(str(folder))}[^\n]* [^\n]*{message}[^\n]* again$"):
        load_model(str(folder))


def test_an_incomplete_folder_is_named_in_one_line(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.safetensors is no safetensors file, or a corrupt one"):
        load_model(str(folder))
    path.unlink()
    with pytest.raises(BadInput, match="no weights file"):
        load_model(str(folder))
    (folder / "model.json").unlink()
    with pytest.raises(BadInput, match=r"has no model\.json"):
        load_model(str(folder))


FUNCTIONS = """
from torch import nn
from certify.models.classifier import Classifier
def net(): return nn.Sequential(nn.Linear(4, 3), nn.Dropout())
def flat(): return nn.Sequential(nn.Linear(4, 3), nn.Flatten())
def finished(): return Classifier(net().eval(), 3, (-1.0, 1.0), name="mine")
def number(): return 3
def broken(): raise RuntimeError("no such layer")
class Planted: pass
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "planted_models.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "planted_models", raising=False)
    return tmp_path


def weights() -> dict[str, torch.Tensor]:
    return {"0.weight": torch.full((3, 4), 0.5), "0.bias": torch.zeros(3)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "checkpoint.pt"])
def test_a_named_function_with_weights(name: str, here: Path) -> None:
    if name.endswith("safetensors"):
        save_file(weights(), here / name)
    else:
        torch.save({"state_dict": weights(), "epoch": 3} if name == "checkpoint.pt" else weights(), here / name)
    classifier = load_model(f"planted_models:net@{name}", num_classes=3, input_box=(0.0, 2.0))
    assert (classifier.input_box, classifier.num_classes) == ((0.0, 2.0), 3)
    assert classifier.scores(torch.ones(1, 4)).tolist() == [[2.0, 2.0, 2.0]]


@pytest.mark.usefixtures("here")
def test_a_finished_classifier_keeps_its_own_settings() -> None:
    classifier = load_model("planted_models:finished", num_classes=10)
    assert (classifier.num_classes, classifier.input_box, classifier.name) == (3, (-1.0, 1.0), "mine")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("planted_models:net", BadInput, "how many classes"),
        ("planted_models:number", ModelError, "returned int; it must return an nn.Module"),
        ("planted_models:broken", ModelError, "raised RuntimeError: no such layer"),
        ("planted_models:absent", BadInput, "no function 'absent'"),
        ("planted_models:finished@w.pt", ModelError, "leave out @w.pt"),
    ],
)
def test_what_is_wrong_with_a_named_function_is_one_line(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^[^\n]*{message}[^\n]*$"):
        load_model(spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "has no weight '0.bias'"),
        ({"2.bias": torch.zeros(3)}, "has a weight '2.bias' that the model does not"),
        ({"0.bias": torch.zeros(4)}, r"'0.bias' has shape \(4,\), the model's is \(3,\)"),
        ({"0.bias": torch.full((3,), float("nan"))}, "0.bias contains NaN"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, torch.Tensor | None], message: str, here: Path) -> None:
    save_file({k: v for k, v in (weights() | change).items() if v is not None}, here / "w.safetensors")
    with pytest.raises(ModelError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_model("planted_models:net@w.safetensors", num_classes=3)


class Touch:
    """Writes a file when it is unpickled by a reader that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_weights_that_would_run_code_are_refused_without_running_it(writer: str, here: Path) -> None:
    trap = here / "trapped"
    if writer == "torch":
        torch.save({"state_dict": Touch(trap)}, here / "w.pt")
    else:
        (here / "w.pt").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(ModelError, match=r"^[^\n]*without running code[^\n]*safetensors.torch.save_file[^\n]*$"):
        load_model("planted_models:net@w.pt", num_classes=3)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"not weights at all"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_corrupt_weights_are_named_in_one_line(content: bytes, suffix: str, here: Path) -> None:
    (here / f"w{suffix}").write_bytes(content)
    with pytest.raises(ModelError, match=rf"^w{suffix} [^\n]*$"):
        load_model(f"planted_models:net@w{suffix}", num_classes=3)


@pytest.mark.usefixtures("here")
def test_weights_must_exist_and_have_a_known_suffix() -> None:
    with pytest.raises(BadInput, match=r"no weights file 'absent\.pt'"):
        load_model("planted_models:net@absent.pt", num_classes=3)
    with pytest.raises(BadInput, match=r"use \.safetensors, \.pt or \.pth"):
        load_model("planted_models:net@planted_models.py", num_classes=3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.pt", "weights alone are no model"),
        ("net.pth", "weights alone are no model"),
        ("net.safetensors", "weights alone are no model"),
    ],
)
def test_files_that_are_no_model_say_what_to_do(name: str, message: str, here: Path) -> None:
    with pytest.raises(BadInput, match=f"no file '{name}'"):
        load_model(name)
    (here / name).touch()
    with pytest.raises(ModelError, match=rf"^{name} [^\n]*{message}[^\n]*name [^\n]*function"):
        load_model(name)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("spec", ["planted_models", "planted_models.py", "./planted_models.py:net", ""])
def test_a_path_or_a_bare_name_never_runs_code(spec: str) -> None:
    with pytest.raises(CertifyError, match=r"a model is a folder .* package\.module:function"):
        load_model(spec)
    assert "planted_models" not in sys.modules


WRAPPED = """
from torch import nn
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        import torch
        self.register_buffer("mean", torch.tensor(0.5))
    def forward(self, x): return x - self.mean
def inner(): return nn.Sequential(nn.Linear(4, 3), nn.Dropout())
def wrapped(): return nn.Sequential(Scale(), inner())
def deeper(): return nn.Sequential(nn.Sequential(Scale(), nn.Sequential(inner())))
def head(): return nn.Sequential(inner(), nn.Linear(3, 3))
def statistics(): return nn.Sequential(nn.BatchNorm1d(4, affine=False), inner())
def twins(): return nn.ModuleList([inner(), inner()])
"""


@pytest.fixture
def wrappers(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (here / "planted_wrappers.py").write_text(WRAPPED)
    monkeypatch.delitem(sys.modules, "planted_wrappers", raising=False)
    return here


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "net."])
@pytest.mark.parametrize(("function", "expected"), [("inner", 2.0), ("wrapped", 1.0), ("deeper", 1.0)])
def test_weights_of_the_network_inside_a_wrapper_are_accepted(
    function: str, expected: float, prefix: str, wrappers: Path
) -> None:
    save_file({prefix + name: tensor for name, tensor in weights().items()}, wrappers / "w.safetensors")
    classifier = load_model(f"planted_wrappers:{function}@w.safetensors", num_classes=3)
    assert classifier.scores(torch.ones(1, 4)).tolist() == [[expected] * 3]


@pytest.mark.parametrize("function", ["head", "statistics", "twins"])
def test_no_part_is_left_without_its_weights(function: str, wrappers: Path) -> None:
    save_file(weights(), wrappers / "w.safetensors")
    with pytest.raises(ModelError, match="belong to another model"):
        load_model(f"planted_wrappers:{function}@w.safetensors", num_classes=3)


def test_weights_of_a_wrapper_do_not_lose_its_normalization(wrappers: Path) -> None:
    outer = {f"1.{name}": tensor for name, tensor in weights().items()} | {"0.mean": torch.tensor(0.25)}
    save_file(outer, wrappers / "w.safetensors")
    with pytest.raises(ModelError, match="belong to another model"):
        load_model("planted_wrappers:inner@w.safetensors", num_classes=3)
    assert load_model("planted_wrappers:wrapped@w.safetensors", num_classes=3).scores(torch.ones(1, 4))[0, 0] == 1.5


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_keeps_weights_beside_other_things(key: str, here: Path) -> None:
    torch.save({key: weights(), "optimizer": {"lr": 0.1}, "epoch": 3}, here / "w.pt")
    assert load_model("planted_models:net@w.pt", num_classes=3).scores(torch.ones(1, 4))[0, 0] == 2


@pytest.mark.parametrize(
    ("mean", "std"), [(0.5, 0.25), ("0.5", "0.25"), ([0.5], [0.25]), ((0.5,), 0.25), (torch.tensor(0.5), 0.25)]
)
def test_a_named_module_may_expect_normalized_inputs(mean: Any, std: Any, here: Path) -> None:
    save_file(weights(), here / "w.safetensors")
    classifier = load_model("planted_models:flat@w.safetensors", num_classes=3, mean=mean, std=std)
    assert classifier.normalization == ((0.5,), (0.25,))
    assert classifier.scores(torch.ones(1, 1, 1, 4)).tolist() == [[4.0, 4.0, 4.0]]
    assert classifier.digest != load_model("planted_models:flat@w.safetensors", num_classes=3).digest


def test_named_normalizations() -> None:
    for name, channels in (("imagenet", 3), ("cifar10", 3), ("mnist", 1)):
        one, both = Classifier(nn.Identity().eval(), 2, mean=name), Classifier(nn.Identity().eval(), 2, std=name)
        x = torch.rand(2, channels, 2, 2)
        assert torch.equal(one.module(x), both.module(x))  # type: ignore[misc]
        assert one.normalization is not None
        assert [len(values) for values in one.normalization] == [channels] * 2


def test_a_function_may_expect_normalized_inputs() -> None:
    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.sum((1, 2, 3)), torch.zeros(len(x))], dim=1)

    plain, inside = Classifier(total, 2), Classifier(total, 2, mean=0.5, std=0.5)
    assert inside.scores(torch.ones(1, 1, 2, 2)).tolist() == [[4.0, 0.0]]
    assert len({plain.digest, inside.digest, Classifier(total, 2, mean=0.5, std=0.25).digest}) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": 0.5}, "needs both mean and std"),
        ({"mean": "0.5"}, "needs both mean and std"),
        ({"mean": "imagenett"}, "did you mean 'imagenet'"),
        ({"mean": "imagenet", "std": "mnist"}, "name two data sets"),
        ({"mean": "imagenet", "std": [0.5]}, "one name such as imagenet for both"),
        ({"mean": "0.5,x", "std": 1}, "mean must be numbers"),
        ({"mean": [0.5, 0.5], "std": [1.0] * 3}, "got 2 and 3"),
        ({"mean": 0.5, "std": 0.0}, "positive standard deviations"),
        ({"mean": float("nan"), "std": 1.0}, "finite means"),
    ],
)
def test_normalizations_that_cannot_be_meant_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=rf"^[^\n]*{message}[^\n]*$"):
        Classifier(nn.Linear(4, 3).eval(), 3, **given)


def test_whoever_states_a_normalization_already_gets_no_second_one(here: Path) -> None:
    with pytest.raises(ModelError, match="give mean and std to it"):
        load_model("planted_models:finished", mean="mnist")
    with pytest.raises(BadInput, match="leave mean and std out"):
        load_model(str(here), mean="mnist")
