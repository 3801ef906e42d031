"""Layers on inputs of all magnitudes, in torch and in onnxruntime, against what is claimed about their executions."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from adversary.claims import MOST
from adversary.modules import executions
from adversary.steps import Applied
from certify.bounds.graph import Graph
from certify.bounds.ibp import propagate
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator

__all__ = ["FILES", "TORCH", "attempt", "outside", "rows", "run_file", "run_module"]

WIDTH: Final = 4
EDGES: Final = (
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


def attempt(seed: int) -> str | None:
    """One layer on rows of its own: None if all executions lie in the claim, otherwise which input escapes it."""
    name = [*TORCH, *FILES][seed % (len(TORCH) + len(FILES))]
    x = rows(40, "adversary", seed)
    graph, results = run_module(TORCH[name], x) if name in TORCH else run_file(FILES[name], x)
    wrong, _ = outside(graph, x, results)
    return f"{name}: {len(wrong)} inputs leave the claim, the first is {wrong[0].tolist()}" if len(wrong) else None


def rows(count: int, *key: object) -> Tensor:
    """Rows of one magnitude each, or of several, ordinary ones, and edges."""
    g = seeded_generator("magnitudes", *key)
    alike = g.uniform(size=(count, 1)) < 0.5
    size = np.where(alike, g.uniform(-44, 38.5, (count, 1)), g.uniform(-44, 38.5, (count, WIDTH)))
    drawn = g.choice([-1.0, 1.0], (count, WIDTH)) * 10.0**size
    ordinary = [g.uniform(-reach, reach, (count // 3, WIDTH)) for reach in (20.0, 150.0)]
    edges = np.outer([sign * edge for edge in EDGES for sign in (-1, 1)], np.ones(WIDTH))
    return torch.as_tensor(np.concatenate([drawn, *ordinary, edges]).clip(-MOST, MOST), dtype=torch.float32)


def outside(graph: Graph, x: Tensor, results: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of x where a result leaves what is claimed, and for each row whether nothing is claimed."""
    wide = x.double()
    layers = propagate(graph.to(torch.float64), Region(Interval(wide, wide)), claim="float32")
    box, void = layers.boxes[graph.output.name], layers.void(slice(None))
    void = torch.zeros(len(x), dtype=torch.bool) if void is None else void
    wrong = torch.zeros_like(void)
    for result in results:
        y = result.double().reshape(box.shape)
        wrong |= ~((box.lower <= y) & (y <= box.upper)).flatten(1).all(1)
    return x[wrong & ~void], void


def run_module(module: nn.Module, x: Tensor) -> tuple[Graph, list[Tensor]]:
    """The graph of a module, and its executions on x."""
    module = module.eval().requires_grad_(False)
    return import_module(module, x[:1]), executions(module, x)


def run_file(content: bytes, x: Tensor) -> tuple[Graph, list[Tensor]]:
    """The graph of a file, and its executions on x."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    parts = [x.split(size) for size in (1, len(x))]
    runs = [torch.cat([torch.from_numpy(session.run(None, {"x": part.numpy()})[0]) for part in one]) for one in parts]
    return import_onnx(content), runs


def batch_norm(variance: float, eps: float, mean: float = 0.0, weight: float = 1.0, bias: float = 0.0) -> nn.Module:
    """Batch normalization with the same numbers for every feature."""
    layer = nn.BatchNorm1d(WIDTH, eps=eps)
    for tensor, value in (
        (layer.running_var, variance), (layer.running_mean, mean), (layer.weight, weight), (layer.bias, bias)
    ):  # fmt: skip
        tensor.data.fill_(value)
    return layer


TORCH: Final = {
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
    "exp": Applied(torch.exp),
    "log": Applied(lambda x: x.abs().log()),
    "sin": Applied(torch.sin),
    "erf": Applied(torch.erf),
    "square": Applied(torch.square),
    "power 0.3": Applied(lambda x: x.abs() ** 0.3),
    "power -1.7": Applied(lambda x: x.abs() ** -1.7),
    "power -3": Applied(lambda x: x**-3.0),
    "rsqrt": Applied(lambda x: x.abs().rsqrt()),
    "0.3 to x": Applied(lambda x: torch.pow(0.3, x)),
    "2 to x": Applied(lambda x: torch.pow(2.0, x)),
    "quotient": Applied(lambda x: x / (x.flip(1) + 1)),
    "over a small number": Applied(lambda x: x / 1e-39),
    "over a large number": Applied(lambda x: x / 1e38),
    "times a small number": Applied(lambda x: x * 1e-40),
    "1e30 over x": Applied(lambda x: 1e30 / x),
    "sum": Applied(lambda x: x.sum(1, keepdim=True)),
    "mean": Applied(lambda x: x.mean(1, keepdim=True)),
    "norm": Applied(lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True)),
    "normalize": Applied(nn.functional.normalize),
    "rms norm": nn.RMSNorm(WIDTH, eps=1e-5),
    "batch norm": batch_norm(1.0, 1e-5),
    "batch norm, variance near -eps": batch_norm(-1e-5 * (1 - 1e-6), 1e-5),
    "batch norm, eps of float64": batch_norm(-0.1, 0.1 + 1e-8),
    "batch norm, small variance": batch_norm(1e-40, 0.0, 1e30, 0.0, 1.0),
    "batch norm, products overflow": batch_norm(1e-30, 0.0, 1e30, 1e-20),
    "batch norm, products underflow": batch_norm(3e38, 1e-5, 0.0, 1e-25),
    "integers": Applied(lambda x: (x.int() * x.int()).float()),
    "unsigned": Applied(lambda x: (x.abs().to(torch.int16) - 3).float()),
}


def net(*nodes: tuple[str, str, str, dict], **constants) -> bytes:
    """A file from x to y: each node has a kind, inputs, an output and attributes."""
    made = [helper.make_node(kind, given.split(), [output], **settings) for kind, given, output, settings in nodes]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in "xy"]
    arrays = {name: value if isinstance(value, np.ndarray) else np.float32(value) for name, value in constants.items()}
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    graph = helper.make_graph(made, "net", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


PLAIN: Final = "Sigmoid Tanh Softplus Softsign Exp Erf Sin Elu Selu HardSigmoid HardSwish Mish Gelu Reciprocal".split()
IMAGE: Final = np.array([-1, WIDTH, 1, 1])
BATCH_NORM: Final = ("BatchNormalization", "x s b m v", "y")
FILES: Final = {
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
