"""Small networks as ONNX files, and small problems whose slack is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from certify.bounds.graph import Graph
from certify.bounds.importers.onnx_file import OnnxFile, read_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region, ball
from certify.complete.problem import Goals, VerificationProblem, Witness
from certify.core.norms import ORDER, Norm
from certify.data.dataset import seeded_generator

Weights = list[tuple[np.ndarray, np.ndarray]]


def layers(weights: Weights) -> OnnxFile:
    """A ReLU network from weights (out, in) and biases, one layer each."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, name = [], [], "x"
    for i, (w, b) in enumerate(weights):
        if i:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
        stored += [numpy_helper.from_array(np.float32(w), f"w{i}"), numpy_helper.from_array(np.float32(b), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        name = f"y{i}"
    sizes = (weights[0][0].shape[1], weights[-1][0].shape[0])
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, n]) for end, n in zip(("x", name), sizes, strict=True)
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_onnx(model.SerializeToString())


@pytest.fixture(scope="session")
def network() -> Callable[[Weights], OnnxFile]:
    """What makes a file of weights."""
    pytest.importorskip("onnxruntime")
    return layers


@pytest.fixture(scope="session")
def identity(network) -> OnnxFile:
    """Three inputs that are the outputs."""
    return network([(np.eye(3), np.zeros(3))])


@dataclass(frozen=True)
class Sampled:
    """A problem, and points (regions, n, ...) of its regions on which its clauses hold with a known slack."""

    problem: VerificationProblem
    points: Tensor

    def values(self) -> Tensor:
        """The rows (regions, n, clauses, rows) at the points."""
        regions, count = self.points.shape[:2]
        x = self.points.flatten(0, 1)
        which = torch.arange(regions).repeat_interleave(count)
        return self.problem.goals.of(which).values(x, self.problem.exact.forward(x)).unflatten(0, (regions, count))


def sampled(
    kind: str,
    key: object,
    slack: float,
    norm: Norm = "linf",
    regions: int = 2,
    radius: float = 0.3,
    claim: str = "exact",
) -> Sampled:
    """Two clauses of two rows, which also read the input, over balls cut by the unit box around random inputs.

    On each region the least of each clause's best row, over points of it, is ``slack``.
    """
    generator = torch.Generator().manual_seed(int(seeded_generator(kind, key).integers(2**31)))
    bend = nn.Sigmoid() if kind == "sigmoid" else nn.ReLU()
    layers = [nn.Linear(3, 12), bend, nn.Linear(12, 12), bend, nn.Linear(12, 3)]
    if kind == "conv":
        image = [nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding=1), bend]
        layers = [*image, nn.Flatten(), nn.Linear(32, 3)]
    module = nn.Sequential(*layers).requires_grad_(False).eval()
    for parameter in module.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 4
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.8 / fan**0.5))
    graph = import_module(module, torch.zeros(1, 3))

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    x = draw(regions, 3)
    region = ball(x, torch.full((regions,), radius, dtype=torch.float64), norm, (0.0, 1.0))
    share = draw(regions, 3000, 3)
    share[:, ::3] = share[:, ::3].round()
    low, high = region.box.lower.unsqueeze(1), region.box.upper.unsqueeze(1)
    points = low + share * (high - low)
    if region.constraint is not None:
        reach = torch.linalg.vector_norm(points - x.unsqueeze(1), ord=ORDER[norm], dim=2, keepdim=True)
        points = x.unsqueeze(1) + (points - x.unsqueeze(1)) * (radius * (1 - 1e-9) / reach).clamp(max=1)
    C, D = draw(regions, 2, 2, 3) - 0.5, 0.2 * (draw(regions, 2, 2, 3) - 0.5)
    case = Sampled(_problem(graph, region, Goals(C, D, 0.3 * draw(regions, 2, 2)), claim), points)
    least = case.values().amax(3).amin(1)
    goals = replace(case.problem.goals, d=case.problem.goals.d + (slack - least).unsqueeze(2))
    return Sampled(_problem(graph, region, goals, claim), points)


def _problem(graph: Graph, region: Region, goals: Goals, claim: str) -> VerificationProblem:
    def examine(points: Tensor) -> Witness | None:
        """Rows in float64, of the region that a point is in."""
        x = points.double()
        inside = ((x.unsqueeze(1) >= region.box.lower) & (x.unsqueeze(1) <= region.box.upper)).all(2)
        if region.constraint is not None:
            away = x.unsqueeze(1) - region.constraint.center
            inside &= (
                torch.linalg.vector_norm(away, ord=ORDER[region.constraint.norm], dim=2) <= region.constraint.radius
            )
        for i, where in inside.nonzero().tolist():
            y = graph.to(torch.float64).forward(x[i : i + 1])
            if bool((goals.of(slice(where, where + 1)).values(x[i : i + 1], y) <= 0).all(2).any()):
                return Witness(x[i].numpy(), y[0].numpy())
        return None

    return VerificationProblem(graph, region, goals, claim, examine)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def problems() -> Callable[..., Sampled]:
    """What makes problems of small seeded networks by kind, key and slack."""
    return sampled
