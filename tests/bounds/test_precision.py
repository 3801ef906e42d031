"""Numbers that code writes down, in the type in which its network computes with them: float64 beside float32 too."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import output_bounds
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.errors import ModelError, UnsupportedOperator
from certify.models.classifier import Classifier

TENTH = float(np.float32(0.1))  # a little above 0.1


class Function(nn.Module):
    def __init__(self, function, **buffers):
        super().__init__()
        self.function = function
        for name, tensor in {"p": torch.tensor([1.0, 1.26]), **buffers}.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda m, x: (x.double() > 0.1).float(), TENTH),
        (lambda m, x: (x.double() == 0.1).float(), TENTH),
        (lambda m, x: x.double() * 0.1 * 1e9 - 1e8, 1.0),
        (lambda m, x: (x.double() + 0.1) * 1e9 - 1.1e9, 1.0),
        (lambda m, x: x.double() / 10.1 * 1e9 - 1e9 / 10.1, 1.0),
        (lambda m, x: x.double().clamp(max=0.1) * 1e9 - 1e8, 1.0),
        (lambda m, x: F.pad(x.double(), (1, 0), value=0.1)[:, :1] * 1e9 - 1e8 + 0 * x, 1.0),
        (lambda m, x: (x.double() + 1) ** 0.1 * 1e9 - 2**0.1 * 1e9, 1.0),
        (lambda m, x: torch.where(x.double() > 0.5, 0.1, x.double()) * 1e9 - 1e8, 1.0),
        (lambda m, x: (x >= 16777217).float(), 16777216.0),  # torch compares in float32
        (lambda m, x: (x == 16777217).float(), 16777216.0),
        (lambda m, x: (x.long() >= 16777217).float(), 16777216.0),  # and integers as they are
        (lambda m, x: (x <= m.tenth).float(), TENTH),  # a single number takes the type of the others
        (lambda m, x: (m.tenth == x).float(), TENTH),
        (lambda m, x: (x > m.tenth.expand(2)).float(), TENTH),
    ],
)
def test_numbers_in_code_are_as_precise_as_the_tensors_they_meet(function, at, claim):
    module = Function(function, tenth=torch.tensor(0.1, dtype=torch.float64))
    x = torch.full((1, 2), at)
    try:
        lower, upper = output_bounds(module, x, x, claim=claim)
    except UnsupportedOperator:
        assert claim == "float32"
        return
    executed = module(x).double()
    room = 1e-6 if claim == "exact" else 0.0
    assert ((lower - room <= executed) & (executed <= upper + room)).all()


DOUBLE = {"k": np.float64(1e9), "j": np.float64(1e8), "c": np.float64(0.1)}


@pytest.mark.parametrize(
    ("nodes", "stored"),
    [
        ([("Clip", ["d", "", "c"])], {}),
        ([("Concat", ["d", "c"], {"axis": 1})], {"c": np.array([[0.1]])}),
        ([("Where", ["m", "d", "c"])], {"m": np.array([False, True])}),
        ([("Pad", ["d", "p", "c"])], {"p": np.array([0, 1, 0, 0])}),
        ([("Pow", ["d", "c"])], {}),
        ([("Max", ["d", "c"])], {}),
    ],
)
def test_numbers_in_float64_parts_of_a_file_keep_their_digits(nodes, stored):
    [(kind, inputs, *more)] = nodes
    parts = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node(kind, inputs, ["e"], **(more[0] if more else {})),
        *(helper.make_node("Mul", ["e", "k"], ["f"]), helper.make_node("Sub", ["f", "j"], ["g"])),
        helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in {**DOUBLE, **stored}.items()]
    model = helper.make_model(
        helper.make_graph(parts, "net", ends, made, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    content, x = model.SerializeToString(), np.full((1, 2), 1.0, np.float32)
    module = GraphModule(import_onnx(content)).eval()
    lower, upper = output_bounds(module, torch.from_numpy(x), torch.from_numpy(x))
    [executed] = onnxruntime.InferenceSession(content).run(None, {"x": x})
    off = 1e-6 * np.abs(executed) + 1e-6
    assert ((lower.numpy() - off <= executed) & (executed <= upper.numpy() + off)).all()


@pytest.mark.parametrize("persistent", [True, False])
def test_what_is_bounded_runs_in_the_type_that_is_called(persistent):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("one", torch.ones(1, dtype=torch.float64), persistent=persistent)
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            above = (x[:, :1] > 0.1).to(x.dtype) * self.weight
            return torch.cat([above, 0.5 * torch.ones_like(above)], 1) * self.one.to(x.dtype)

    clf, at = Classifier(Mixed().eval(), 2, input_box=(0.0, 1.0)), torch.full((1, 1), TENTH)
    lower, upper = output_bounds(clf, at, at)
    assert ((lower <= clf.scores(at)) & (clf.scores(at) <= upper)).all()
    distance = 0.101 - TENTH
    [made] = bound(clf, at + distance, threat=ThreatModel("linf", (0.0, 0.999 * distance, 2 * distance)))
    assert made.radius is None or made.prediction == 0
    assert clf.predict(at).tolist() == [1]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda m, x: x * torch.linspace(0, 1, 4)[1], "computed from constants and rounded"),
        (lambda m, x: x * torch.round(m.p, decimals=1)[0], "computed from constants and rounded"),
        (lambda m, x: x * (m.p / 3)[0].item(), "a number of Python is read from constants that are rounded"),
        (lambda m, x: torch.where(torch.empty(2) > 0, x, -x), "memory that nothing was written to"),
        (lambda m, x: x + torch.empty(2).long(), "memory that nothing was written to"),
        (lambda m, x: torch.where(m.p.add_(1) > 200, x, -x), "writes to its own p when it answers"),
    ],
)
def test_what_is_not_known_exactly_or_not_the_same_each_time_is_refused(function, said):
    with pytest.raises((UnsupportedOperator, ModelError), match=said):
        import_module(Function(function), torch.zeros(1, 2))


@pytest.mark.parametrize(("begin", "end"), [(1, 5), (-1, 2)])
def test_linspace_of_few_binary_digits_is_exact(begin, end):
    x = torch.zeros(1, 3)
    lower, upper = output_bounds(Function(lambda m, x: x + torch.linspace(begin, end, 3)), x, x)
    assert (upper - lower).max() < 1e-5


def test_sums_in_half_precision_are_not_taken_for_exact():
    x = torch.zeros(1, 2)
    for kind, many in ((torch.float16, 2048.0), (torch.bfloat16, 256.0)):
        module = Function(lambda m, x: x + (m.large[0] + m.large[1]).float(), large=torch.tensor([many, 1.0]).to(kind))
        with pytest.raises(ModelError):  # weights of half precision
            output_bounds(module, x, x)
        module = Function(lambda m, x, kind=kind: x + (m.large.to(kind)[0] + m.large.to(kind)[1]).float())
        module.register_buffer("large", torch.tensor([many, 1.0]))
        lower, upper = output_bounds(module, x, x)
        assert ((lower <= many) & (many + 1 <= upper)).all()


@pytest.mark.parametrize("kind", ["Dropout", "QLinearMatMul", "Loop"])
def test_constants_of_a_file_that_no_rule_encloses_are_refused(kind):
    info, one = helper.make_tensor_value_info, np.float32(0.1)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, [2])],
        [info("on", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, [2])],
    )
    zero, byte = np.uint8(0), np.array([[5]], np.uint8)
    node, stored = {
        "Dropout": (
            helper.make_node(kind, ["c", "r", "t"], ["made"]),
            {"c": np.float32([5, 6]), "r": np.float32(0.002), "t": np.bool_(True)},
        ),
        "QLinearMatMul": (
            helper.make_node(kind, ["a", "s", "z", "b", "s", "z", "s", "z"], ["q"]),
            {"a": byte, "b": np.array([[1, 3]], np.uint8), "s": one, "z": zero},
        ),
        "Loop": (
            helper.make_node(kind, ["m", "t", "c"], ["made"], body=body),
            {"m": np.int64(2**62), "t": np.bool_(True), "c": np.float32([5, 6])},
        ),
    }[kind]
    nodes = [node, helper.make_node("Add", ["x", "made"], ["y"])]
    if kind == "QLinearMatMul":
        nodes.insert(1, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["made"]))
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    ends = [info("x", TensorProto.FLOAT, [1, 2])], [info("y", TensorProto.FLOAT, [1, 2])]
    graph = helper.make_graph(nodes, "net", *ends, held)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises((UnsupportedOperator, ModelError), match=kind):
        import_onnx(content)


def test_a_counter_that_nothing_reads_may_be_written_to():
    def counted(m, x):
        m.p.add_(1)
        return x * 2

    assert import_module(Function(counted), torch.zeros(1, 2)).shape == (2,)
