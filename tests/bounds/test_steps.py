"""Functions with jumps: their values at the jumps, lines over them, and how comparisons and choices are read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rules.rounded import Rounded, Sign
from certify.bounds.rules.step import Step
from certify.bounds.tensors import Interval
from certify.certifiers.attack import attack
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator
from certify.models.classifier import Classifier

FLOAT, INT64, BOOL, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.INT32

STAIRCASES = [
    Sign(),
    *(Rounded(direction) for direction in ("down", "up", "nearest")),
    *(Step(torch.tensor(place).double(), closed) for place in (0.0, 0.3) for closed in (False, True)),
]


def bounds(method, graph, region) -> Interval:
    """Of every output."""
    eye = torch.eye(math.prod(graph.output.shape), dtype=torch.float64)
    lower, upper = METHODS[method](
        graph, region, torch.cat([eye, -eye]).expand(len(region.box.lower), -1, -1)
    ).lower.chunk(2, dim=1)
    return Interval(lower, -upper)


def box(ends):
    lower, upper = torch.tensor(ends, dtype=torch.float64).reshape(-1, 2).unbind(1)
    return Interval(lower.unsqueeze(0), upper.unsqueeze(0))


@pytest.mark.parametrize("operator", STAIRCASES, ids=str)
def test_boxes_that_end_at_jumps(operator):
    """On both sides of each: an image or a line that forgets the values there would be wrong by a whole step."""
    near = [place + side for place in (-1.5, -1.0, 0.0, 0.3, 0.5, 2.0, 2.5) for side in (-1e-12, 0.0, 1e-12)]
    ends = box([(a, b) for a in near for b in near if a <= b])
    image, points = operator.interval(ends, outward=True), torch.tensor(near, dtype=torch.float64).reshape(-1, 1)
    inside = (points >= ends.lower) & (points <= ends.upper)
    y = operator.forward(points.expand_as(inside))
    assert ((y >= image.lower) & (y <= image.upper))[inside].all()
    for share in (None, *(torch.full((2, *ends.shape), s).double() for s in (0.0, 0.4, 1.0))):
        planes = operator.relax(ends, shares=share)
        assert (planes.lower_slopes[0] * points + planes.lower_offset <= y + 1e-13)[inside].all()
        assert (planes.upper_slopes[0] * points + planes.upper_offset >= y - 1e-13)[inside].all()


def test_lines_are_the_best_ones_at_the_middle():
    """Over one jump through two corners; over several, along them."""
    planes = Rounded("down").relax(box([(0.5, 1.25), (0.75, 1.9), (0.5, 3.5)]))
    found = [planes.lower_slopes[0], planes.lower_offset, planes.upper_slopes[0], planes.upper_offset]
    expected = [[0, 1 / 0.9, 1], [0, -1 / 0.9, -1], [2, 0, 1], [-1, 1, 0]]
    assert torch.allclose(torch.cat(found), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def net(nodes, shape=("n", 3), opset=13, **constants) -> bytes:
    """A network of nodes ``"Greater x c -> t"`` with attributes, from x to y."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    listed = []
    for number, node in enumerate(nodes):
        words, settings = node if isinstance(node, tuple) else (node, {})
        (kind, *inputs), (output,) = (part.split() for part in words.split("->"))
        listed.append(helper.make_node(kind, inputs, [output], name=str(number), **settings))
    x = helper.make_tensor_value_info("x", FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph(listed, "net", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


C, Z = np.float32([0.25, -0.5, 0.0]), np.float32(0)
LOGIC = {
    "greater": (["Greater x c -> t", ("Cast t -> y", {"to": FLOAT})], {"c": C}),
    "constant first": (["Less c x -> t", ("Cast t -> y", {"to": FLOAT})], {"c": C}),
    "two results": (["Neg x -> m", "LessOrEqual m x -> t", ("Cast t -> y", {"to": FLOAT})], {}),
    "equal": (["Floor x -> f", "Equal f c -> t", ("Cast t -> y", {"to": FLOAT})], {"c": np.float32([0, 1, -1])}),
    "not": (["Greater x c -> t", "Not t -> n", ("Cast n -> y", {"to": FLOAT})], {"c": C}),
    "both": (
        ["Greater x c -> s", "LessOrEqual x z -> t", "And s t -> b", "Or b k -> o", ("Cast o -> y", {"to": FLOAT})],
        {"c": C - 1, "z": Z, "k": np.array([True, False, False])},
    ),
    "where": (["Greater x c -> t", "Relu x -> r", "Where t r c -> y"], {"c": C}),
    "where constant": (["Where t x c -> y"], {"c": C, "t": np.array([True, False, True])}),
    "truth of numbers": ([("Cast x -> t", {"to": BOOL}), ("Cast t -> y", {"to": FLOAT})], {}),
    "truncated": (
        [("Cast x -> i", {"to": INT64}), "Add i k -> j", ("Cast j -> y", {"to": FLOAT})],
        {"k": np.array([3, -2, 0])},
    ),
    "sign": (["Sign x -> y"], {}),
    "rounded": (["Floor x -> a", "Ceil x -> b", "Round x -> c", "Sum a b c -> y"], {}),
    "swish": (["Swish x -> y"], {"opset": 24}),
    "groups": (
        [("GroupNormalization x s b -> y", {"num_groups": 2})],
        {"s": np.float32([1, -2, 0.5, 3]), "b": np.float32([0, 1, 2, 3]), "shape": ("n", 4, 2), "opset": 21},
    ),
    "softsign": (["Softsign x -> y"], {}),
    "exponential": (["Clip x low high -> k", "Pow b k -> y"], {"b": np.float32(0.5), "low": Z - 9, "high": Z + 9}),
    "powers": (["Pow x p -> y"], {"p": np.float32([2, 3, 2])}),
    "l1": ([("ReduceL1 x -> y", {"axes": [1]})], {}),
    "l2": ([("ReduceL2 x -> y", {"axes": [-1], "keepdims": 0})], {}),
    "squares": ([("ReduceSumSquare x -> y", {"axes": [1]})], {}),
    "gathered": ([("GatherElements x p -> y", {"axis": 1})], {"p": np.array([[2, -3, 1, 0]]), "shape": (1, 3)}),
    "one sample": (["Transpose x -> t", "Relu t -> y"], {"shape": (1, 3)}),
    "nothing": (["Identity x -> y"], {}),
}


@pytest.mark.parametrize("name", LOGIC)
def test_bounds_hold_what_the_file_computes(name):
    """The importer compares the two; every method then bounds the values at points of boxes on jumps and off them."""
    nodes, given = LOGIC[name]
    graph = import_onnx(net(nodes, **given)).to(torch.float64)
    g = seeded_generator("logic", name)
    center = torch.as_tensor(g.choice([-1.0, -0.5, 0.0, 0.1, 0.25, 2.0], size=(8, *graph.shape)))
    half = torch.as_tensor(g.choice([0.0, 0.25, 1.0], size=(8, *graph.shape)))
    region = Region(Interval(center - half, center + half))
    shares = torch.as_tensor(g.choice([-1.0, 0.0, 0.3, 1.0], size=(64, 8, *graph.shape)))
    y = torch.stack([graph.forward(center + share * half).reshape(8, -1) for share in shares])
    for method in ("ibp", "crown"):
        found = bounds(method, graph, region)
        assert (y >= found.lower - 1e-12).all()
        assert (y <= found.upper + 1e-12).all()
        still = half.flatten(1).amax(1) == 0
        assert torch.allclose(found.lower[still], found.upper[still], atol=1e-9)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("Cast x -> i", {"to": INT64}), "Div i i -> j", ("Cast j -> y", {"to": FLOAT})], "is int64"),
        ([("Cast x -> i", {"to": INT32}), "Max i i -> j", ("Cast j -> y", {"to": FLOAT})], "is int32"),
        ([("Cast x -> i", {"to": INT64}), "Add i k -> j", ("Cast j -> y", {"to": FLOAT})], "integers beyond 16777216"),
        (
            [("Cast x -> i", {"to": INT64}), "ReduceMax i -> j", ("Cast j -> y", {"to": FLOAT})],
            "is int64",
        ),
    ],
)
def test_integers_and_truth_values_that_floats_do_not_imitate_are_refused(nodes, words):
    constants = {"k": np.array([2**24 + 1, 0, 0])} if "k" in str(nodes) else {}
    with pytest.raises(UnsupportedOperator, match=words):
        import_onnx(net(nodes, **constants))


def doubled(times, kind):
    """x as an integer, doubled so often."""
    adds = [f"Add i{n} i{n} -> i{n + 1}" for n in range(times)]
    return [("Cast x -> i0", {"to": kind}), *adds, (f"Cast i{times} -> y", {"to": FLOAT})]


@pytest.mark.parametrize(
    ("nodes", "fits", "wraps"),
    [
        (doubled(0, INT64), 9.2e18, 9.3e18),
        (doubled(0, INT32), 2147483647.5, 2147483648.0),
        (doubled(34, INT64), 5e8, 6e8),
        (doubled(3, INT32), 2.6e8, 2.7e8),
        ([("Cast x -> i", {"to": INT32}), "Mul i i -> j", ("Cast j -> y", {"to": FLOAT})], 46340.0, 46341.0),
        ([("Cast x -> i", {"to": INT64}), "ReduceSum i -> j", ("Cast j -> y", {"to": FLOAT})], 3e18, 4e18),
    ],
)
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_integers_that_leave_their_type_have_no_bounds(nodes, fits, wraps, method):
    graph = import_onnx(net(nodes, shape=(1, 3) if "ReduceSum" in str(nodes) else ("n", 3))).to(torch.float64)
    ends = [torch.tensor(end, dtype=torch.float64) for end in ([[0.5] * 3] * 2, [[fits] * 3, [0.75, 0.75, wraps]])]
    if "ReduceSum" in str(nodes):
        ends[1][1] = wraps
    found = bounds(method, graph, Region(Interval(*ends)))
    assert found.upper[0].isfinite().all()
    assert found.upper[1].isinf().all()


class Wraps(nn.Module):
    """Products of integers, which torch takes in their type."""

    def __init__(self, dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        whole = x.clamp(-1e4, 1e5).to(self.dtype)
        return (whole * whole * 2).to(torch.float32)


def test_integers_of_torch_that_leave_their_type_have_no_bounds():
    graph = import_module(Wraps(torch.int32), torch.zeros(1, 2)).to(torch.float64)
    ends = torch.tensor([[3e4, 1.0], [3e4, 1.0]]).double(), torch.tensor([[3.2e4, 2.0], [3.3e4, 2.0]]).double()
    found = bounds("crown", graph, Region(Interval(*ends)))
    assert torch.allclose(found.upper[0], torch.tensor([2 * 32000.0**2, 8.0]).double())
    assert found.upper[1].isinf().all()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (x > 0).sum(1, keepdim=True) ** 70, "its result is an integer"),
        (lambda x: (x > 0).sum(1, keepdim=True) * (2**24 + 1), "integers beyond 16777216"),
    ],
)
def test_integers_of_torch_that_floats_do_not_imitate_are_refused(function, words):
    class Applied(nn.Module):
        def forward(self, x):
            return function(x)

    with pytest.raises(UnsupportedOperator, match=words):
        import_module(Applied(), torch.zeros(1, 2))


def test_a_network_that_begins_with_a_comparison_has_radii_and_is_attacked():
    class Begins(nn.Module):
        def forward(self, x):
            return torch.cat([(x > 0.5).float(), (x <= 0.5).float()], 1)

    clf, threat = Classifier(Begins().eval(), 2), ThreatModel("linf", (0.0, 0.1))
    certified = bound(clf, [[0.7], [0.55]], threat=threat, method="crown", decide=True)
    assert [one.radius for one in certified] == [0.1, 0.0]
    # Nothing leads there but chance: all that is asked is an answer.
    assert attack(clf, [[0.7], [0.55]], [0, 0], threat=threat)[0].radius is None


class Sums(nn.Module):
    def forward(self, x):
        return ((x > 5000) + (x > 6000)).to(torch.float32)


def test_sums_of_truth_values_are_no_sums_of_numbers():
    with pytest.raises(UnsupportedOperator, match="truth value"):
        import_module(Sums(), torch.zeros(1, 2))
