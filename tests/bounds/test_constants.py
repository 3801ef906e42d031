"""What a network computes from constants, against its own runtime and against finer arithmetic."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import output_bounds
from certify.bounds.rules.base import ONNX
from certify.certifiers.lipschitz import Lipschitz
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator
from certify.models.classifier import Classifier
from tests.bounds.test_onnx_affine import FORMS, IMAGE, LINE, TOKENS, ints, net

F32 = np.float32
PLAIN = (
    "Abs Ceil Celu Cos Elu Erf Exp Floor HardSigmoid Identity LeakyRelu Reciprocal Relu Round Selu Sigmoid "
    "Sign Sin Softplus Softsign Tanh Dropout"
).split()
NETS = {
    **FORMS,
    **{kind: (kind, "x", LINE, 13, {}) for kind in PLAIN},
    "HardSwish": ("HardSwish", "x", LINE, 14, {}),
    "Mish": ("Mish", "x", LINE, 18, {}),
    "Gelu": ("Gelu", "x", LINE, 20, {}),
    "Sqrt": ("Sqrt", "x", LINE, 13, {"positive": True}),
    "Log": ("Log", "x", LINE, 13, {"positive": True}),
    "Pow": ("Pow", "x e", LINE, 13, {"e": np.array(0.3, F32), "positive": True}),
    "Clip": ("Clip", "x l", LINE, 13, {"l": np.array(-0.1, F32)}),
    "PRelu": ("PRelu", "x W", LINE, 13, {"W": (6,)}),
    "Cast": ("Cast", "x", LINE, 13, {"to": TensorProto.INT64}),
    "GatherElements": ("GatherElements", "x i", LINE, 13, {"i": np.array([[5, 0, 1, 1, 2, 3]]), "axis": 1}),
    "Max": ("Max", "x W", LINE, 13, {"W": (6,)}),
    "Min": ("Min", "x W", LINE, 13, {"W": (6,)}),
    "MaxPool": ("MaxPool", "x", IMAGE, 12, {"kernel_shape": [2, 2]}),
    "GlobalMaxPool": ("GlobalMaxPool", "x", IMAGE, 13, {}),
    **{kind: (kind, "x W", LINE, 16, {"W": (6,)}) for kind in "Equal Greater GreaterOrEqual Less LessOrEqual".split()},
    **{kind: (kind, "c d", LINE, 13, {"c": np.arange(6) > 2, "d": np.arange(6) > 4}) for kind in ("And", "Or")},
    "Not": ("Not", "c", LINE, 13, {"c": np.arange(6) > 2}),
    **{
        kind: (kind, "x", IMAGE, 13, {"axes": [2, 3]})
        for kind in "ReduceL1 ReduceL2 ReduceMax ReduceMin ReduceSumSquare".split()
    },
    "LayerNormalization": ("LayerNormalization", "x g b", TOKENS, 17, {"g": (6,), "b": (6,)}),
    "GroupNormalization": ("GroupNormalization", "x g b", IMAGE, 21, {"g": (2,), "b": (2,), "num_groups": 1}),
    "InstanceNormalization": ("InstanceNormalization", "x g b", IMAGE, 13, {"g": (2,), "b": (2,)}),
    **{
        f"{kind} {opset} along {axis}": (kind, "x", TOKENS, opset, {"axis": axis})
        for kind in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (11, 13)
        for axis in (1, 2)
    },
    "LpNormalization": ("LpNormalization", "x", TOKENS, 13, {"p": 1, "axis": 1}),
    "LRN": ("LRN", "x", IMAGE, 13, {"size": 3}),
    "ConvTranspose lower": (
        "ConvTranspose",
        "x W",
        IMAGE,
        11,
        {"W": (2, 1, 3, 3), "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    "BatchNormalization 9": (
        "BatchNormalization",
        "x g b m variance",
        IMAGE,
        9,
        {"g": (2,), "b": (2,), "m": (2,), "variance": (2,)},
    ),
    "Resize nearest": (
        "Resize",
        "x - s",
        IMAGE,
        13,
        {"s": np.array([1, 1, 1.6, 0.7], F32), "nearest_mode": "ceil", "coordinate_transformation_mode": "half_pixel"},
    ),
    "Sum of many": ("ReduceSum", "x a", (20_000,), 13, {"a": ints(1)}),
    "Dequantized": (
        "DequantizeLinear",
        "q s z",
        LINE,
        13,
        {"q": np.arange(6, dtype=np.int8), "s": np.array(0.1, F32), "z": np.array(3, np.int8)},
    ),
}  # fmt: skip
WITHOUT_RULE = {"LpNormalization"}


def folded(name) -> bytes:
    """A file that adds a node's result on constants, in one line, to its input."""
    kind, inputs, shape, opset, given = NETS[name]
    given, size = dict(given), seeded_generator("folded", name).normal(size=(1, *NETS[name][2])).astype(F32)
    if given.pop("positive", False):
        size = abs(size)
    batch = given.get("batch", 1)
    stored = size if batch is not None else size[0]
    model = onnx.load_model_from_string(net(kind, inputs, shape, opset, **given))
    graph = model.graph
    last = graph.output[0].name
    bits = kind in "Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Cast".split()
    cast = [helper.make_node("Cast", [last], ["number"], to=TensorProto.FLOAT)] if bits else []
    nodes = [
        *graph.node,
        *cast,
        helper.make_node("Reshape", ["number" if bits else last, "line"], ["flat"]),
        helper.make_node("Add", ["u", "flat"], ["sum"], name="the sum"),
    ]
    constants = [*graph.initializer, numpy_helper.from_array(ints(1, -1), "line"), numpy_helper.from_array(stored, "x")]
    u, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("u", [1, 1]), ("sum", None)))
    made = helper.make_graph(nodes, "net", [u], [y], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def executed(content: bytes) -> np.ndarray:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(
        None, {"u": np.zeros((1, 1), F32)}
    )[0]


def test_every_operator_that_is_read_is_computed_here():
    assert set(ONNX) - {kind for kind, *_ in NETS.values()} <= {"Swish"}, "newer than onnxruntime"


@pytest.mark.parametrize("name", NETS)
def test_constants_are_what_onnxruntime_computes_and_enclose_the_exact_ones(name):
    content = folded(name)
    if NETS[name][0] in WITHOUT_RULE:
        with pytest.raises(UnsupportedOperator, match="computed from constants .*store its result"):
            import_onnx(content)
        return
    module, zero = GraphModule(import_onnx(content)), torch.zeros(1, 1)
    expected = torch.tensor(executed(content)).double()
    assert torch.allclose(module(zero).double(), expected, rtol=1e-6, atol=1e-6)
    if "Softmax" in name.split()[0] or (NETS[name][0].endswith("Normalization") and "Batch" not in name):
        with pytest.raises(UnsupportedOperator, match="constant is computed by an operator whose float32 executions"):
            output_bounds(module, zero, zero, "ibp", claim="float32")
    elif module.graph.dtype == torch.float32:
        lower, upper = output_bounds(module, zero, zero, "ibp", claim="float32")
        assert (lower <= expected).all()
        assert (upper >= expected).all()
        wide = 50.0 if name == "Sum of many" else 1e-3  # 20,000 roundings of numbers of size 1, either way
        assert (upper - lower <= wide * (1 + expected.abs())).all()
    if name == "Sum of many":
        values = seeded_generator("folded", name).normal(size=(1, 20_000)).astype(F32)
        lower, upper = output_bounds(module, zero.double(), zero.double(), "ibp")
        assert lower.item() <= math.fsum(values.flatten().tolist()) <= upper.item() <= lower.item() + 0.1


def test_a_large_constant_output_does_not_hide_a_wrong_one():
    """Softmax before opset 13 runs over all axes from its own: read otherwise, outputs are wrong by 1e4."""
    generator = seeded_generator("hidden")
    stored = {"c": generator.normal(size=(1, 4, 6)).astype(F32), "most": np.full((1, 1), -1e9, F32)}
    nodes = [
        helper.make_node("Softmax", ["c"], ["shares"], axis=1),
        helper.make_node("ReduceMax", ["shares"], ["share"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["x", "share"], ["small"]),
        helper.make_node("Mul", ["small", "scale"], ["part"]),
        helper.make_node("Concat", ["part", "most"], ["y"], axis=1),
    ]
    stored["scale"] = np.array([1e4], F32)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 2]), ("y", None)))
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(v, k) for k, v in stored.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    ones = torch.ones(1, 2)
    lower, upper = output_bounds(GraphModule(import_onnx(model.SerializeToString())), ones, ones)
    share = np.exp(stored["c"].astype(float)).max() / np.exp(stored["c"].astype(float)).sum()
    assert lower[0, 0].item() <= 1e4 * share <= upper[0, 0].item() <= 1e4 * share * (1 + 1e-4)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        generator = seeded_generator("constants of a module")
        self.function = function
        self.weight = nn.Parameter(torch.as_tensor(generator.normal(size=(2, 2)), dtype=torch.float32))
        self.size = nn.Parameter(torch.as_tensor(generator.uniform(0.2, 1, size=2), dtype=torch.float32))
        self.requires_grad_(False)

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x * torch.exp(m.size),
        lambda m, x: x / torch.exp(m.size) - m.size * m.size,
        lambda m, x: nn.functional.linear(x, m.weight * m.size / m.weight.pow(2).sum().sqrt(), m.size.exp()),
        lambda m, x: x + torch.cumsum(m.size, 0),
        lambda m, x: x @ (m.weight.T @ m.weight),
        lambda m, x: torch.where(m.weight[0] > 0, x, m.size * m.size),
        lambda m, x: torch.where(m.weight[0] > 0, x, 0.1),
        lambda m, x: torch.add(x, m.size, alpha=0.1) + torch.add(m.size, m.size, alpha=0.1),
        lambda m, x: torch.maximum(x, m.size.exp()),
        lambda m, x: x * (m.size * 1.0).exp_().mul_(0.3),
        lambda m, x: torch.cat([x, m.size.exp().expand(len(x), 2)], 1),
    ],
)
def test_bounds_cover_what_computed_constants_round(function):
    module, x = Function(function), torch.tensor([[0.3, -0.7]])
    executed, exact = module(x), Function(function).double()(x.double())
    lower, upper = output_bounds(module, x, x, claim="float32")
    assert ((lower <= executed) & (executed <= upper)).all()
    lower, upper = output_bounds(module, x.double(), x.double())
    # Numbers in the code are rounded to float32 where torch computes in it, and so are those of what is claimed.
    off = 2e-8 * (1 + exact.abs())
    assert ((lower <= exact + off) & (exact <= upper + off) & (upper - lower < 1e-4)).all()


def test_exact_arithmetic_on_constants_stays_exact():
    graph = import_module(
        Function(lambda m, x: x * (torch.arange(2.0) * 0.5 + 1) - (1 - torch.eye(2)[0])), torch.zeros(1, 2)
    )
    assert {node.operator.kind for node in graph.nodes} == {"scale_shift"}


def test_a_weight_of_an_operator_without_a_rule_carries_no_claim():
    """How far an inverse in float32 is from the exact one, no comparison with float64 proves."""
    module, x = Function(lambda m, x: x @ torch.linalg.inv(m.weight)), torch.tensor([[0.3, -0.7]])
    for claim in ("exact", "float32"):
        with pytest.raises(UnsupportedOperator, match="computed from constants and rounded, which no rule covers"):
            output_bounds(module, x, x, claim=claim)


def test_memory_that_nothing_was_written_to_is_no_constant():
    """What lies there may be 0 when the import is compared with the module, and something else in use."""
    for made in (lambda: torch.empty(2), lambda: torch.zeros(1).new_empty(2)):
        with pytest.raises(UnsupportedOperator, match="memory that nothing was written to"):
            import_module(Function(lambda m, x, made=made: x + made()), torch.zeros(1, 2))
    written = Function(lambda m, x: x + torch.empty(2).fill_(2.0) + torch.empty(2).copy_(torch.ones(2)))
    torch.testing.assert_close(output_bounds(written, torch.zeros(1, 2), torch.zeros(1, 2))[0], torch.full((1, 2), 3.0))


@pytest.mark.parametrize(
    "placed",
    [
        lambda m: torch.full((2,), 1e8).index_put((torch.tensor([0]),), m.size[:1], accumulate=True),
        lambda m: torch.full((2,), 1e8).scatter(0, torch.tensor([0]), m.size, reduce="add"),
    ],
)
def test_numbers_that_are_added_where_they_are_placed_round(placed):
    with pytest.raises(UnsupportedOperator, match="computed from constants and rounded"):
        import_module(Function(lambda m, x: x + placed(m)), torch.zeros(1, 2))


@pytest.mark.parametrize("reduction", ["none", "add"])
def test_scattered_constants_are_exact_unless_they_are_added_up(reduction):
    nodes = [
        helper.make_node("ScatterElements", ["many", "place", "one"], ["made"], reduction=reduction),
        helper.make_node("Add", ["x", "made"], ["y"]),
    ]
    stored = {"many": np.full(2, 1e8, np.float32), "place": np.array([0]), "one": np.ones(1, np.float32)}
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
    graph = helper.make_graph(
        nodes, "net", [given], [made], [numpy_helper.from_array(array, name) for name, array in stored.items()]
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8).SerializeToString()
    if reduction == "none":
        assert import_onnx(content).nodes[-1].operator.kind == "scale_shift"
    else:
        with pytest.raises(UnsupportedOperator, match="computed from constants and rounded"):
            import_onnx(content)


def test_weight_norm_is_spelled_out():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)).eval().requires_grad_(False)
    x = torch.tensor([[0.3, -0.7]])
    for claim in ("exact", "float32"):
        lower, upper = output_bounds(layer, x, x, claim=claim)
        assert ((lower <= layer(x)) & (layer(x) <= upper)).all() or claim == "exact"
        assert (upper - lower < 1e-4).all()


def test_spectral_norms_keep_their_lipschitz_constants():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)).eval().requires_grad_(False)
    clf, threat = Classifier(layer, num_classes=2), ThreatModel("l2", (0.0,))
    Lipschitz().check(clf, threat, torch.zeros(1, 2))
