"""Lipschitz constants of networks in l2, and the certified radii ``margin / constant`` (Tsuzuku et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.affine_part import AffinePart
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.methods import METHODS
from certify.bounds.region import ball
from certify.bounds.rounding import down, gamma, smallest, unit
from certify.bounds.rules.base import Nonlinear
from certify.bounds.rules.maximum import Maximum
from certify.bounds.spectral import CHUNK, NormBound, floor, norms
from certify.errors import UnsupportedOperator

__all__ = ["Constants", "LipschitzRadii", "check_lipschitz", "lipschitz_constants", "lipschitz_radii"]


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """Upper bounds of Lipschitz constants in l2 with respect to the network's input, in exact arithmetic.

    Args:
        graph: the network, in float64.
        of: the constants of all nonlinear results and the input, by name.
        layers: norms of the affine parts between nonlinear results, by the names of the results they end in.
        output: the constant of all outputs as one vector.
        last: the affine part that ends in the output.
        together: the constant of all sources of that part as one vector.
    """

    graph: Graph
    of: Mapping[str, float]
    layers: Mapping[str, NormBound]
    output: float
    last: AffinePart
    together: float

    def rows(self, C: Tensor) -> Tensor:
        """The constants (R,) of ``C y`` for rows C (R, outputs).

        For each row c the lesser of ``||c W||_2`` times the constant of what W reads, and ``||c||_2`` times that of the
        outputs. For ``y_c - y_j`` the first has the distance of two rows of the last layer, at most ``sqrt(2)
        ||W||_2``.
        """
        part, u = self.last, unit(C.dtype)
        A, error = part.transposed(C), 2 * part.rounding * part.absolute_transposed(C.abs())
        sizes = [math.prod(shape) for shape in part.shapes(part.sources)]
        lost = floor(part) * C.abs().sum(dim=1)
        each = [
            _row_norms(a) + _row_norms(e) + lost
            for a, e in zip(A.split(sizes, dim=1), error.split(sizes, dim=1), strict=True)
        ]
        apart = sum(
            (norm * self.of[name] for norm, name in zip(each, part.sources, strict=True)), torch.zeros_like(lost)
        )
        joint = torch.stack(each).square().sum(dim=0).sqrt() * self.together
        whole = _row_norms(C) * self.output
        least = torch.stack([apart, joint, whole]).nan_to_num(torch.inf, torch.inf).amin(dim=0)
        return least * (1 + (2 * len(sizes) + 16) * u) + smallest(C.dtype)


def _row_norms(rows: Tensor) -> Tensor:
    """l2 norms of rows, rounded up."""
    entries = rows.shape[1]
    norm = torch.linalg.vector_norm(rows, dim=1) * (1 + gamma(entries + 4, rows.dtype))
    return norm + (entries * smallest(rows.dtype)) ** 0.5


def check_lipschitz(graph: Graph) -> None:
    """Refuse a network in which some nonlinear operator has no known constant.

    Raises:
        UnsupportedOperator: names the node and the ways out.
    """
    for node in graph.nodes:
        if isinstance(node.operator, Nonlinear) and node.operator.lipschitz is None:
            place = f", {node.source}" if node.source else ""
            raise UnsupportedOperator(
                f"node {node.name} ({node.operator.kind}{place}) has no Lipschitz constant that holds everywhere: "
                "use crown, whose bounds hold on the ball only, or smoothing, which needs none"
            )


def lipschitz_constants(graph: Graph, deadline: Deadline = NEVER) -> Constants:
    """Multiply norms and constants along the network, and add them where branches meet.

    Let W be the affine map from the last nonlinear results ``h_i`` to what an operator reads. The constant of that is
    at most ``||W||_2`` times the constant of ``(h_1, h_2, ...)`` as one vector, and at most the sum of ``||W_i||_2``
    times the constant of ``h_i``. The constant of several results as one vector is at most the root of the sum of
    squares.

    Args:
        graph: the network, in float64.
        deadline: when to give up.

    Raises:
        UnsupportedOperator: for a nonlinear operator whose rule states no constant.
        OutOfTime: once the deadline passed.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU()).requires_grad_(False)
    >>> _ = net[0].weight.copy_(2 * torch.eye(2))
    >>> 2.0 <= lipschitz_constants(import_module(net, torch.zeros(1, 2)).to(torch.float64)).output < 2.0001
    True
    """
    check_lipschitz(graph)
    found = _Composition(graph, deadline)
    for node in graph.nodes:
        if isinstance(node.operator, Nonlinear):
            assert node.operator.lipschitz is not None
            found.of[node.name] = _up(node.operator.lipschitz * found.stacked(node.inputs))
    last = AffinePart.reaching(graph, (graph.output.name,))
    output = found.stacked(last.outputs)
    return Constants(graph, found.of, found.layers, output, last, found.together(last.sources, found.of))


class _Composition:
    """The constants of a graph's results while they are computed, node by node."""

    def __init__(self, graph: Graph, deadline: Deadline) -> None:
        self.graph, self.deadline = graph, deadline
        self.of: dict[str, float] = {graph.input: 1.0}
        self.layers: dict[str, NormBound] = {}
        self._stacked: dict[tuple[str, ...], float] = {}

    def stacked(self, names: tuple[str, ...]) -> float:
        """The constant of several results as one vector."""
        if names not in self._stacked:
            part = AffinePart.reaching(self.graph, names)
            constant, norm = self._through(part, self.of)
            if norm.proof == "absolute" and len(part.nodes) > 1 and not part.moves:
                known = dict(self.of)
                constant = min(constant, _norm(self._in_pieces(part, name, known) for name in names))
            elif part.nodes:
                self._record(part, norm)
            self._stacked[names] = constant
        return self._stacked[names]

    def together(self, names: tuple[str, ...], of: Mapping[str, float]) -> float:
        """The constant of several results as one vector, from the constants of each."""
        left, squares = list(names), []
        while left:
            name = left.pop()
            partner = next((other for other in left if self._sort(name, other)), None)
            if partner is None:
                squares.append(of[name])
            else:
                left.remove(partner)
                squares.append(self.stacked(tuple(sorted(self.graph.producers[name].inputs))))
        return _norm(squares)

    def _sort(self, first: str, second: str) -> bool:
        """Whether two results are the maximum and the minimum of the same two inputs: sorting has constant 1."""
        if self.graph.input in (first, second):
            return False
        one, other = self.graph.producers[first], self.graph.producers[second]
        return (
            isinstance(one.operator, Maximum)
            and isinstance(other.operator, Maximum)
            and one.operator.sign == -other.operator.sign
            and len(one.inputs) == 2
            and sorted(one.inputs) == sorted(other.inputs)
        )

    def _record(self, part: AffinePart, norm: NormBound) -> None:
        more = f" and {len(part.outputs) - 1} more" if len(part.outputs) > 1 else ""
        self.layers[part.outputs[0] + more] = norm

    def _through(self, part: AffinePart, of: Mapping[str, float]) -> tuple[float, NormBound]:
        joint, each = norms(part, self.deadline)
        apart = math.fsum(norm.value * of[name] for norm, name in zip(each, part.sources, strict=True))
        constant = min(_up(joint.value * self.together(part.sources, of)), _up(apart * (1 + 4 * unit(torch.float64))))
        return constant, joint

    def _in_pieces(self, part: AffinePart, name: str, known: dict[str, float]) -> float:
        """The constant of one result of a part that is too large for one matrix, chain by chain."""
        if name not in known:
            chain = part.chain(self.graph.producers[name])
            for source in chain.sources:
                self._in_pieces(part, source, known)
            known[name], norm = self._through(chain, known)
            self._record(chain, norm)
        return known[name]


def _up(value: float) -> float:
    """A computed product or sum of bounds, rounded up; infinite for NaN, as in 0 times infinity."""
    return math.inf if math.isnan(value) else math.nextafter(value, math.inf)


def _norm(values: Iterable[float]) -> float:
    return _up(math.hypot(*values) * (1 + 4 * unit(torch.float64)))


@dataclass(frozen=True, slots=True, eq=False)
class LipschitzRadii:
    """The radii that were proven for a batch.

    Args:
        radius: (B,), NaN where a margin at the input is not above its rounding error.
        margins: lower bounds of the rows at the inputs, (B, rows).
        constants: upper bounds of the rows' Lipschitz constants, (B, rows).
        slack: rounding errors subtracted from the margins, (B, rows).
    """

    radius: Tensor
    margins: Tensor
    constants: Tensor
    slack: Tensor


def lipschitz_radii(constants: Constants, x: Tensor, C: Tensor, deadline: Deadline = NEVER) -> LipschitzRadii:
    """The radius within which every row of ``C y`` stays positive: the least margin over constant, rounded down.

    Args:
        constants: of the network.
        x: inputs (B, ...); their values are taken as exact.
        C: (B, rows, outputs).
        deadline: when to give up.

    Raises:
        OutOfTime: once the deadline passed.
    """
    center, C = x.to(torch.float64), C.to(torch.float64)
    point = ball(center, center.new_zeros(len(center)), "l2", None)
    bounds = METHODS["ibp"](constants.graph, point, C, claim="exact", deadline=deadline)
    distinct, which = C.unique(dim=0, return_inverse=True)
    parts = []
    for rows in distinct.flatten(0, 1).split(max(1, CHUNK // constants.graph.widest)):
        deadline.check()
        parts.append(constants.rows(rows))
    slopes = torch.cat(parts).unflatten(0, distinct.shape[:2])[which]
    radius = down(bounds.lower / slopes).amin(dim=1).clamp(min=0.0)
    positive = (bounds.lower > 0).all(dim=1)
    return LipschitzRadii(torch.where(positive, radius, torch.nan), bounds.lower, slopes, bounds.slack)
