"""Architectures: each builds for images of every usual size, imports into bounds, and comes back from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.tensors import Interval
from certify.errors import BadInput, ModelError
from certify.models.architecture import DEEPEST, build, describe
from certify.models.folder import load_folder, save_folder
from certify.models.networks.base import NETWORKS

EXAMPLES: dict[str, dict[str, Any]] = {
    "cnn-a": {"width": 2},
    "cnn4": {"width": 2},
    "cnn7": {"width": 2, "units": 8},
    "lipnet": {"width": 2, "units": 8},
    "mlp": {"hidden": (8,)},
    "resnet8": {"width": 2},
    "resnet20": {"width": 2},
    "resnet110": {"width": 2},
    "small": {"width": 2},
}
"""Settings with which each is small."""

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 11, 10)]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_an_architecture_builds_for_images_of_every_size_and_is_described_again(name: str) -> None:
    assert name in EXAMPLES, f"give the network {name} an example here"
    for shape in SHAPES:
        module = build(NETWORKS[name](shape, 7, **EXAMPLES[name]), seed=1)
        assert module(torch.zeros(2, *shape)).shape == (2, 7)
        written = describe(module)
        assert describe(build(json.loads(json.dumps(written)))) == written
    assert build(NETWORKS[name](SHAPES[0], 7))(torch.zeros(1, *SHAPES[0])).shape == (1, 7)
    for shape in ((5,), (2, 3)):
        try:
            layers = NETWORKS[name](shape, 2, **EXAMPLES[name])
        except BadInput as problem:
            assert "takes images" in str(problem)
        else:
            assert build(layers)(torch.zeros(3, *shape)).shape == (3, 2)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "resnet110"])  # 90 layers more of resnet20's
def test_an_architecture_imports_into_bounds_and_comes_back_from_its_folder(name: str, tmp_path: Path) -> None:
    shape, generator = (1, 11, 10), torch.Generator().manual_seed(0)
    module = build(NETWORKS[name](shape, 3, **EXAMPLES[name]), seed=2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics that change something
            layer.running_mean.normal_(0.0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 2.0, generator=generator)
    x = torch.rand(1, *shape, generator=generator)
    graph = import_module(module, x)
    near = x + 0.001 * (2 * torch.rand(64, *shape, generator=generator) - 1)
    with torch.no_grad():
        scores, wanted = module(near), module(x)
        box = interval_bounds(graph, Interval(x - 0.001, x + 0.001), C=torch.eye(3)[None])
    assert bool((box.lower <= scores).all())
    assert bool((scores <= box.upper).all())
    save_folder(tmp_path, module, num_classes=3, input_box=None, input_shape=shape, recipe={})
    torch.testing.assert_close(load_folder(tmp_path).scores(x), wanted)


def nested(depth: int, kind: str) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = [{"layer": "Abs"}]
    for _ in range(depth):
        inside = {
            "Sequential": {"layers": layers},
            "Residual": {"branch": [], "shortcut": layers},
            "Mean": {"members": [layers]},
        }[kind]
        layers = [{"layer": kind, **inside}]
    return layers


@pytest.mark.parametrize("kind", ["Sequential", "Residual", "Mean"])
def test_networks_are_nested_up_to_a_limit(kind: str, tmp_path: Path) -> None:
    module = build(nested(DEEPEST, kind))
    assert describe(module) == nested(DEEPEST, kind)
    assert bool((module(-torch.ones(1, 2)) >= 0).all()) == (kind != "Residual")
    with pytest.raises(ModelError, match=f"^its networks are nested more than {DEEPEST} deep$"):
        build(nested(DEEPEST + 1, kind))
    with pytest.raises(ModelError, match="nested more than"):
        describe(nn.Sequential(module))
    with pytest.raises(ModelError, match="nested more than"):
        build(nested(300, kind))
    (tmp_path / "model.json").write_text('{"layers": ' + "[" * 100_000)
    with pytest.raises(ModelError, match=r"model\.json is corrupt"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"layer": "Residual", "branch": []}, "lacks its setting 'shortcut'"),
        ({"layer": "Residual", "shortcut": []}, "lacks its setting 'branch'"),
        ({"layer": "Residual", "branch": None, "shortcut": []}, "None is no list of layers"),
        ({"layer": "Residual", "branch": {"layer": "ReLU"}, "shortcut": []}, "is no list of layers"),
        ({"layer": "Residual", "branch": "ReLU", "shortcut": []}, "'ReLU' is no list of layers"),
        ({"layer": "Residual", "branch": [], "shortcut": [], "scale": 2}, "has no setting 'scale'"),
        ({"layer": "Residual", "branch": [[]], "shortcut": []}, "layer 0 is \\[\\]"),
        ({"layer": "Mean"}, "lacks its setting 'members'"),
        ({"layer": "Mean", "members": []}, "has no members"),
        ({"layer": "Mean", "members": 3}, "cannot be built"),
        ({"layer": "Mean", "members": None}, "has no members"),
        ({"layer": "Mean", "members": "net"}, "'n' is no list of layers"),
        ({"layer": "Mean", "members": {"a": []}}, "'a' is no list of layers"),
        ({"layer": "Mean", "members": [[], {}]}, "{} is no list of layers"),
        ({"layer": "Mean", "members": [[{"layer": "Mean", "members": [[7]]}]]}, "layer 0 is 7"),
        ({"layer": "Sequential"}, "lacks its setting 'layers'"),
        ({"layer": "Sequential", "layers": 1.5}, "1.5 is no list of layers"),
        ({"layer": "Abs", "inplace": True}, "has no setting 'inplace'; known: none"),
    ],
)
def test_hostile_descriptions_are_refused_in_one_line(layer: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as refused:
        build([layer])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mlp", "small", "lipnet")])
def test_images_that_are_too_small_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"takes images .* of at least \d+ pixels a side"):
        NETWORKS[name]((1, 1, 1), 2)
