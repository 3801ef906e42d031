"""Float32 executions on inputs of all magnitudes, in torch and in onnxruntime, against what is claimed about them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from certify.bounds.graph import Graph
from certify.bounds.ibp import propagate
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator

WIDTH = 4
MOST = torch.finfo(torch.float32).max
EDGES = (
    0.0,
    1.0,
    1 - 2.0**-24,
    18.0,
    20.0,
    88.7,
    88.73,
    104.0,
    2.0**24,
    2.0**31,
    2.0**63,
    1e-45,
    1.2e-38,
    1.9e38,
    MOST,
)
"""Where kernels change their formula, overflow, or leave the normal numbers."""


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Rows of one magnitude each, or of several, and edges."""
    g = seeded_generator("magnitudes")
    rows = 200
    size = np.where(
        g.uniform(size=(rows, 1)) < 0.5, g.uniform(-44, 38.5, (rows, 1)), g.uniform(-44, 38.5, (rows, WIDTH))
    )
    drawn = g.choice([-1.0, 1.0], (rows, WIDTH)) * 10.0**size
    ordinary = [g.uniform(-reach, reach, (60, WIDTH)) for reach in (20.0, 150.0)]
    edges = np.outer([sign * edge for edge in EDGES for sign in (-1, 1)], np.ones(WIDTH))
    return torch.as_tensor(np.concatenate([drawn, *ordinary, edges]).clip(-MOST, MOST), dtype=torch.float32)


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def batch_norm(variance: float, eps: float, mean: float = 0.0, weight: float = 1.0, bias: float = 0.0) -> nn.Module:
    layer = nn.BatchNorm1d(WIDTH, eps=eps)
    for tensor, value in (
        (layer.running_var, variance), (layer.running_mean, mean), (layer.weight, weight), (layer.bias, bias)
    ):  # fmt: skip
        tensor.data.fill_(value)
    return layer


TORCH = {
    "softplus": nn.Softplus(),
    "softplus of a high threshold": nn.Softplus(10.0, 500.0),
    "softplus, flat": nn.Softplus(0.1, 5000.0),
    "logsigmoid": nn.LogSigmoid(),
    "sigmoid": nn.Sigmoid(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "gelu": nn.GELU(),
    "tanh gelu": nn.GELU("tanh"),
    "celu, steep": nn.CELU(1e-30),
    "celu, deep": nn.CELU(1e30),
    "hardswish": nn.Hardswish(),
    "leaky": nn.LeakyReLU(1e30),
    "softsign": nn.Softsign(),
    "exp": torch.exp,
    "log": lambda x: x.abs().log(),
    "sin": torch.sin,
    "erf": torch.erf,
    "square": torch.square,
    "power 0.3": lambda x: x.abs() ** 0.3,
    "power -1.7": lambda x: x.abs() ** -1.7,
    "power -3": lambda x: x**-3.0,
    "rsqrt": lambda x: x.abs().rsqrt(),
    "0.3 to x": lambda x: torch.pow(0.3, x),
    "2 to x": lambda x: torch.pow(2.0, x),
    "quotient": lambda x: x / (x.flip(1) + 1),
    "over a small number": lambda x: x / 1e-39,
    "over a large number": lambda x: x / 1e38,
    "times a small number": lambda x: x * 1e-40,
    "1e30 over x": lambda x: 1e30 / x,
    "sum": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(1, keepdim=True),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "normalize": nn.functional.normalize,
    "rms norm": nn.RMSNorm(WIDTH, eps=1e-5),
    "batch norm": batch_norm(1.0, 1e-5),
    "batch norm, variance near -eps": batch_norm(-1e-5 * (1 - 1e-6), 1e-5),
    "batch norm, eps of float64": batch_norm(-0.1, 0.1 + 1e-8),
    "batch norm, small variance": batch_norm(1e-40, 0.0, 1e30, 0.0, 1.0),
    "batch norm, products overflow": batch_norm(1e-30, 0.0, 1e30, 1e-20),
    "batch norm, products underflow": batch_norm(3e38, 1e-5, 0.0, 1e-25),
    "integers": lambda x: (x.int() * x.int()).float(),
    "unsigned": lambda x: (x.abs().to(torch.int16) - 3).float(),
}


def net(*nodes: tuple[str, str, str, dict], **constants) -> bytes:
    """A file from x to y: each node has a kind, inputs, an output and attributes."""
    made = [helper.make_node(kind, given.split(), [output], **settings) for kind, given, output, settings in nodes]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in "xy"]
    arrays = {name: value if isinstance(value, np.ndarray) else np.float32(value) for name, value in constants.items()}
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    graph = helper.make_graph(made, "net", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


PLAIN = "Sigmoid Tanh Softplus Softsign Exp Erf Sin Elu Selu HardSigmoid HardSwish Mish Gelu Reciprocal".split()
IMAGE = np.array([-1, WIDTH, 1, 1])
BATCH_NORM = ("BatchNormalization", "x s b m v", "y")
FILES = {
    **{kind: net((kind, "x", "y", {})) for kind in PLAIN},
    "Log": net(("Abs", "x", "a", {}), ("Log", "a", "y", {})),
    "Pow 0.3": net(("Abs", "x", "a", {}), ("Pow", "a p", "y", {}), p=0.3),
    "Pow -3": net(("Pow", "x p", "y", {}), p=-3),
    "Pow of a base": net(("Pow", "b x", "y", {}), b=0.3),
    "Div": net(("Div", "x c", "y", {}), c=1e-39),
    "Celu": net(("Celu", "x", "y", {"alpha": 1e-30})),
    "HardSigmoid, steep": net(("HardSigmoid", "x", "y", {"alpha": 1e30, "beta": 0.3})),
    "Gemm": net(("Gemm", "x w", "y", {"alpha": 1e30}), w=np.full((WIDTH, WIDTH), np.float32(1e-20))),
    "BatchNormalization": net((*BATCH_NORM, {"epsilon": 0.1}), s=[1] * 4, b=[0] * 4, m=[0] * 4, v=[1e-8 - 0.1] * 4),
    "its products": net((*BATCH_NORM, {"epsilon": 1e-5}), s=[1e-25] * 4, b=[0] * 4, m=[0] * 4, v=[3e38] * 4),
    "LRN": net(
        ("Reshape", "x s", "a", {}), ("LRN", "a", "b", {"size": 3, "alpha": 0.3}), ("Flatten", "b", "y", {}), s=IMAGE
    ),
    "integers": net(
        ("Cast", "x", "a", {"to": TensorProto.INT64}),
        ("Add", "a a", "b", {}), ("Mul", "b b", "c", {}), ("Cast", "c", "y", {"to": TensorProto.FLOAT}),
    ),
}  # fmt: skip


NOTHING = frozenset({"over a small number", "Div", "batch norm, small variance", "batch norm, products overflow"})
"""Those whose constants leave what float32 can hold: nothing is claimed about their executions."""


def assert_inside_the_claim(name: str, graph: Graph, x: Tensor, results: list[Tensor]) -> None:
    """All of the results, but where nothing is claimed."""
    wide = x.double()
    layers = propagate(graph.to(torch.float64), Region(Interval(wide, wide)), claim="float32")
    box, void = layers.boxes[graph.output.name], layers.void(slice(None))
    void = torch.zeros(len(x), dtype=torch.bool) if void is None else void
    assert bool(void.all()) == (name in NOTHING)
    for result in results:
        y = result.double().reshape(box.shape)
        inside = ((box.lower <= y) & (y <= box.upper)).flatten(1).all(1)
        wrong = x[~(inside | void)]
        assert not len(wrong), f"{len(wrong)} inputs, the first {wrong[0].tolist()}"


@pytest.mark.parametrize("name", TORCH)
def test_what_torch_executes_is_claimed(name, x):
    function = TORCH[name]
    module = (function if isinstance(function, nn.Module) else Applied(function)).eval().requires_grad_(False)
    graph = import_module(module, x[:1])
    # Rows alone and other memory take other loops: vectors, their remainders, and strides.
    runs = [module(x.clone()), torch.cat([module(row.clone()) for row in x.split(1)]), module(x.T.contiguous().T)]
    assert_inside_the_claim(name, graph, x, runs)


@pytest.mark.parametrize("name", FILES)
def test_what_onnxruntime_executes_is_claimed(name, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(FILES[name], options, ["CPUExecutionProvider"])
    runs = [
        torch.cat([torch.from_numpy(session.run(None, {"x": part.numpy()})[0]) for part in x.split(size)])
        for size in (1, len(x))
    ]
    assert_inside_the_claim(name, import_onnx(FILES[name]), x, runs)
