"""Softmax, normalization, pooling and attention: composed of simpler operators, and in whole networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator
from certify.models.classifier import Classifier


def filled(module: nn.Module, *key: object) -> nn.Module:
    """Seeded weights of unit gain, scales around 1 and small shifts."""
    generator = seeded_generator("composed", *key)
    with torch.no_grad():
        for tensor in module.parameters():
            size = max(1, tensor[0].numel()) ** -0.5 if tensor.dim() > 1 else 0.2
            tensor.copy_(torch.as_tensor(generator.normal(size=tuple(tensor.shape)) * size))
        for layer in module.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.weight += 1.0
    return module.eval().requires_grad_(False)


def enclosed(module, x, radius, methods=("ibp", "crown"), samples=1000):
    """Mean widths of bounds by method, and of what thousands of points reach; all of it must lie inside."""
    generator, exact = seeded_generator("enclosed"), import_module(module, x.float()).to(torch.float64)
    step = torch.as_tensor(generator.uniform(-1, 1, size=(samples, *x.shape)))
    near = x.double() + radius * torch.cat([step, step.sign()])
    y = exact.forward(near.flatten(0, 1)).reshape(2 * samples, len(x), -1)
    widths = {}
    for method in methods:
        lo, hi = output_bounds(module, x.double() - radius, x.double() + radius, method)
        assert ((lo <= y) & (y <= hi)).all()
        widths[method] = float((hi - lo).mean())
    return widths, float((y.amax(0) - y.amin(0)).mean())


def drawn(*shape, key="x"):
    return torch.as_tensor(seeded_generator("points", key, shape).uniform(size=shape), dtype=torch.float32)


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


PROTOTYPES = torch.tensor([[[1.0, -1.0, 0.5, 2.0], [0.0, 1.0, 1.0, -0.5]]])


@pytest.mark.parametrize(
    ("module", "shape", "crown", "ibp"),
    [
        (nn.Softmax(1), (3, 5), 1.7, 1.7),
        (nn.Softmax(-2), (2, 3, 4), 1.7, 1.7),
        (nn.Sequential(nn.Linear(6, 4), nn.Softmax(1)), (3, 6), 2.0, 5.0),
        (nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax(1)), (3, 6), 2.5, 5.0),
        (nn.LayerNorm(6), (3, 6), 3.0, 6.0),
        (nn.LayerNorm((2, 3)), (3, 2, 3), 3.0, 6.0),
        (nn.GroupNorm(2, 4), (2, 4, 3), 3.0, 6.0),
        (nn.RMSNorm(5, eps=1e-3), (2, 5), 3.0, 6.0),
        (nn.LocalResponseNorm(3), (2, 4, 3), 1.2, 1.5),
        (Applied(nn.functional.normalize), (3, 4), 3.0, 6.0),
        (Applied(lambda x: torch.linalg.vector_norm(x, 3, dim=1, keepdim=True)), (3, 4), 1.5, 2.0),
        (Applied(lambda x: torch.linalg.norm(x, torch.inf, dim=1, keepdim=True)), (3, 4), 1.5, 2.0),
        (Applied(lambda x: nn.functional.cosine_similarity(x[:, None], PROTOTYPES, dim=2)), (3, 4), 6.0, 9.0),
        (nn.MaxPool2d(2), (2, 2, 5, 6), 1.2, 1.2),
        (nn.MaxPool2d(3, 2, padding=1), (2, 2, 7, 6), 1.2, 1.2),
        (nn.MaxPool2d((2, 3), 2, dilation=(2, 1), ceil_mode=True), (2, 1, 7, 6), 1.2, 1.2),
        (nn.MaxPool1d(3, 1, padding=1), (2, 2, 5), 1.2, 1.2),
        (nn.MaxPool3d(2), (2, 1, 4, 4, 2), 1.2, 1.2),
        (nn.AdaptiveMaxPool2d((3, 2)), (2, 1, 5, 7), 1.2, 1.2),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2)), (2, 1, 8, 8), 3.0, 8.0),
    ],
)
def test_composed_layers_enclose_what_they_compute_and_not_much_more(module, shape, crown, ibp):
    widths, seen = enclosed(filled(module, shape), drawn(*shape), 0.05)
    assert widths["crown"] <= widths["ibp"] * (1 + 1e-12)
    assert widths["crown"] < crown * seen
    assert widths["ibp"] < ibp * seen


def test_intervals_of_a_softmax_end_at_corners_of_the_box():
    generator = seeded_generator("corners")
    lower = torch.as_tensor(generator.normal(size=(20, 5)) * 3)
    upper = lower + torch.as_tensor(generator.uniform(size=(20, 5)) * 2)
    box = interval_bounds(import_module(nn.Softmax(1), lower.float()).to(torch.float64), Interval(lower, upper))
    corners = torch.stack(
        [torch.where(torch.tensor(c), upper, lower).softmax(1) for c in itertools.product((False, True), repeat=5)]
    )
    assert torch.allclose(box.lower, corners.amin(0), rtol=1e-12)
    assert torch.allclose(box.upper, corners.amax(0), rtol=1e-12)


def test_margins_of_logarithms_of_softmax_are_those_of_the_scores():
    scores, x = filled(nn.Linear(6, 4), "margins"), drawn(3, 6).double()
    C = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.5, 0.0, -0.5]]).double().expand(3, 2, 4)
    for method in ("ibp", "crown"):
        ends = [
            output_bounds(net, x - 0.3, x + 0.3, method, C) for net in (scores, nn.Sequential(scores, nn.LogSoftmax(1)))
        ]
        assert torch.allclose(torch.stack(ends[0]), torch.stack(ends[1]), rtol=1e-9)


@pytest.mark.parametrize("module", [nn.Softmax(1), nn.LogSoftmax(1), nn.LayerNorm(4)])
def test_large_inputs_and_executions_claim_nothing_false(module):
    x = torch.tensor([[-1e30, 3e4, 0.0, 1e20], [0.0, 0.0, 0.0, 0.0]]).double()
    for method in ("ibp", "crown"):
        lo, hi = output_bounds(module, x - 1, x + 1, method)
        y = module.double()(x)
        assert ((lo <= y) & (y <= hi)).all()
    graph = import_module(module.float(), x.float()).to(torch.float64)
    with pytest.raises(UnsupportedOperator, match='float32 executions.*claim "exact" instead'):
        METHODS["ibp"](graph, Region(Interval(x, x)), torch.eye(4).double().expand(2, 4, 4), claim="float32")


class Attention(nn.Module):
    """Written by hand, as in many vision transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        batch, count, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, count, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * 0.5).softmax(dim=-1)
        return x + self.out((weights @ v).transpose(1, 2).reshape(batch, count, width))


class Vision(nn.Module):
    """Patches, positions, a class token, encoder layers, a classifier."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.patches, self.layers, self.head = nn.Conv2d(1, 8, 2, 2), nn.Sequential(*layers), nn.Linear(8, 3)
        self.position, self.token = nn.Parameter(torch.zeros(1, 5, 8)), nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.layers(torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position)
        return self.head(x[:, 0] + x.mean(dim=1))


def encoder(**options) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1, **options)


TRANSFORMERS = {
    "torch": lambda: [encoder()],
    "torch, norm first": lambda: [encoder(norm_first=True, activation="gelu")],
    "by hand": lambda: [Attention(), Attention()],
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_are_enclosed(name):
    module = filled(Vision(*TRANSFORMERS[name]()), name)
    widths, seen = enclosed(module, drawn(2, 1, 4, 4), 0.005, samples=300)
    assert widths["crown"] < widths["ibp"] / 5
    assert widths["ibp"] < 300  # normalized results and weights of a softmax stay in their ranges
    assert widths["crown"] < 5 * seen


class Pooling(nn.Module):
    """A residual block between max poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.head = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Linear(16, 3),
        )

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.first(x)), 2)
        x = torch.relu(x + self.inner(x))
        return self.head(nn.functional.max_pool2d(x, 3, 2, 1).flatten(1))


@pytest.mark.parametrize(
    ("module", "shape"), [(Vision(encoder()), (2, 1, 4, 4)), (Pooling(), (6, 1, 8, 8))], ids=["transformer", "pooling"]
)
def test_networks_with_such_layers_are_certified(module, shape):
    x = drawn(*shape)
    clf = Classifier(filled(module, "certified"), num_classes=3, input_box=(0.0, 1.0))
    certificates = bound(clf, x, threat=ThreatModel("linf", (0.0, 0.002)), method="crown")
    radii = torch.tensor([certificate.radius for certificate in certificates])
    assert (radii >= 0.002).all()
    step = torch.as_tensor(seeded_generator("attack").uniform(-1, 1, size=(500, *shape)), dtype=torch.float32).sign()
    near = x + step * radii.reshape(-1, 1, 1, 1)
    assert (clf.predict(near.flatten(0, 1)).reshape(500, -1) == clf.predict(x)).all()


ONNX_FORMS = {
    "Softmax": ("Softmax", "x", (3, 4), 13, {"axis": 1}),
    "Softmax of old": ("Softmax", "x", (3, 4), 11, {"axis": 1}),
    "LogSoftmax": ("LogSoftmax", "x", (3, 4), 13, {}),
    "LogSoftmax of old": ("LogSoftmax", "x", (5,), 8, {}),
    "LayerNormalization": ("LayerNormalization", "x w b", (3, 4), 17, {"w": [1, 2, 3, -1.0], "b": [0, 1, 2, 0.0]}),
    "InstanceNormalization": ("InstanceNormalization", "x w b", (2, 3, 3), 13, {"w": [1, 2.0], "b": [0, 1.0]}),
    "MaxPool": ("MaxPool", "x", (2, 5, 6), 12, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    "MaxPool of old": ("MaxPool", "x", (2, 5, 6), 8, {"kernel_shape": [2, 2]}),
    "MaxPool same": ("MaxPool", "x", (2, 5), 11, {"kernel_shape": [2], "strides": [2], "auto_pad": "SAME_LOWER"}),
    "MaxPool ceil": ("MaxPool", "x", (1, 6, 7), 19, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "MaxPool behind": ("MaxPool", "x", (1, 5, 6), 12, {"kernel_shape": [2, 2], "strides": [2, 3], "ceil_mode": 1}),
    "LRN": ("LRN", "x", (4, 3, 2), 13, {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    "MaxPool dilated": ("MaxPool", "x", (1, 6, 7), 12, {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    "GlobalMaxPool": ("GlobalMaxPool", "x", (2, 5, 4), 13, {}),
    "Max": ("Max", "x w b", (2, 3), 13, {"w": [0.1, -0.1, 0.5], "b": [0.0]}),
    "Min": ("Min", "x w", (2, 3), 8, {"w": [0.1, -0.1, 0.5]}),
    "ReduceMax": ("ReduceMax", "x", (4, 5), 13, {"axes": [-1], "keepdims": 0}),
    "ReduceMin": ("ReduceMin", "x axes", (4, 5), 18, {"axes": [1, 2]}),
    "Mul": ("Mul", "x x", (4,), 13, {}),
    "Div": ("Div", "c x", (2,), 13, {"c": [1.0, -2.0]}),
    "MatMul": ("MatMul", "x x", (3, 3), 13, {}),
    "Einsum": ("Einsum", "x x", (2, 3), 13, {"equation": "bik,bjk->bij"}),
}


@pytest.mark.parametrize("name", ONNX_FORMS)
def test_onnx_forms_compute_what_onnxruntime_computes(name):
    kind, inputs, shape, opset, given = ONNX_FORMS[name]
    stored = {
        key: numpy_helper.from_array(np.array(given[key], dtype=np.int64 if key == "axes" else np.float32), key)
        for key in inputs.split()
        if key != "x"
    }
    attributes = {key: value for key, value in given.items() if key not in stored}
    x, y = helper.make_tensor_value_info("x", 1, ["N", *shape]), helper.make_tensor_value_info("y", 1, None)
    node = helper.make_node(kind, inputs.split(), ["y"], **attributes)
    graph = helper.make_graph([node], "net", [x], [y], list(stored.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    imported = import_onnx(model.SerializeToString())  # which compares the two
    at = drawn(2, *shape).double() + (1.0 if name == "Div" else 0.0)
    box = interval_bounds(imported.to(torch.float64), Interval(at - 0.1, at + 0.1), outward=True)
    found = imported.to(torch.float64).forward(at)
    assert ((box.lower <= found) & (found <= box.upper)).all()
    assert (box.upper - box.lower).isfinite().all()


def test_statistics_of_the_batch_and_unknown_operators_are_named():
    """Five outputs are the training form of old versions; what only serves an unknown operator is not blamed for it."""
    numbers = [numpy_helper.from_array(np.ones(2, dtype=np.float32), name) for name in "gbmv"]
    training = helper.make_node("BatchNormalization", ["x", *"gbmv"], ["y", "mean", "var", "old mean", "old var"])
    turned = helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2])
    recurrent = helper.make_node("GRU", ["t", "w", "r"], ["y"], hidden_size=1)
    weights = [numpy_helper.from_array(np.ones((1, 3, n), dtype=np.float32), name) for n, name in ((3, "w"), (1, "r"))]
    x, y = helper.make_tensor_value_info("x", 1, ["N", 2, 3]), helper.make_tensor_value_info("y", 1, None)
    for nodes, stored, words in (
        ([training], numbers, "BatchNormalization.*outside of training"),
        ([turned, recurrent], weights, "GRU.* is unknown"),
    ):
        graph = helper.make_graph(nodes, "net", [x], [y], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
        with pytest.raises(UnsupportedOperator, match=words):
            import_onnx(model.SerializeToString())
