"""Bounds of the rows of goals over boxes of inputs: the claim, which a search and a replay share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from certify.bounds.alpha_crown import Sharing
from certify.bounds.backward import backward, minimum, usual_planes
from certify.bounds.crown import tighten
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph, Node
from certify.bounds.hints import LEVELS
from certify.bounds.ibp import CHUNK, propagate
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds, Samples
from certify.bounds.memory import samples_within
from certify.bounds.region import Region
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import flat
from certify.complete.problem import Goals, VerificationProblem
from certify.core.values import one_of

__all__ = ["DIRECT", "Planes", "free_nodes", "mixed_rows", "refuted", "refuted_by_box", "refuted_directly", "shares_of"]

DIRECT = ("ibp", "crown")
"""Bound methods that refute clauses over whole regions, cheapest first; each refutes what the one before does."""


MANY = 64
"""Regions from which on claims try coefficients in float32 first: with fewer, their error terms take more time."""


class Batch:
    """A dataclass of tensors that have one entry for each box of a batch."""

    __slots__ = ()

    def of(self, which: Tensor | slice) -> Self:
        """Those of some boxes."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))  # type: ignore[arg-type]

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The boxes of all parts."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Planes(Batch):
    """Planes found by a search, for one combination of the rows of each clause.

    Args:
        weights: (n, clauses, rows) integers up to LEVELS, the weights of the combination.
        shares: (n, clauses, shares of all neurons) integers up to LEVELS, in the order of :func:`free_nodes`.
        given: (n,) whether a box has such planes; the others use CROWN's own.
    """

    weights: Tensor
    shares: Tensor
    given: Tensor

    @classmethod
    def none(cls, count: int, goals: Goals, graph: Graph) -> Planes:
        """No planes but CROWN's own, for ``count`` boxes."""
        _, clauses, rows = goals.d.shape
        shares = sum(shares_of(node) * math.prod(node.shape) for node in free_nodes(graph))
        weights, planes = (torch.zeros(count, clauses, n, dtype=torch.uint8) for n in (rows, shares))
        return cls(weights, planes, torch.zeros(count, dtype=torch.bool))


def refuted(
    problem: VerificationProblem,
    region: Region,
    goals: Goals,
    planes: Planes,
    wanted: Tensor,
    deadline: Deadline = NEVER,
) -> Tensor:
    """Which clauses (b, clauses) are proven refuted over regions, with error terms.

    Any planes and weights are sound, so they may come from an untrusted source. Where a region has a clause that is
    ``wanted`` (b, clauses) and not refuted with one type of coefficients, the other is tried as well. So a replay,
    whose batches are others than those of the search, finds what the search found.

    Raises:
        OutOfTime: once the deadline passed.
    """
    graphs = [problem.mixed, problem.exact] if len(wanted) >= MANY else [problem.exact, problem.mixed]
    found = _refuted(problem, graphs[0], region, goals, planes, deadline)
    [left] = (wanted & ~found).any(dim=1).nonzero(as_tuple=True)
    if len(left) == 0 or problem.mixed.narrow is None:
        return found
    more = _refuted(problem, graphs[1], region.rows(left), goals.of(left), planes.of(left), deadline)
    return found.index_copy(0, left, found[left] | more)


def _refuted(
    problem: VerificationProblem, graph: Graph, region: Region, goals: Goals, planes: Planes, deadline: Deadline
) -> Tensor:
    everyone = slice(None)
    region, empty = region.part()
    layers = propagate(graph, region, claim=problem.claim, tighten=tighten, deadline=deadline)
    found = goals.refuted(minimum(layers, backward(layers, goals.rows(graph), everyone, usual_planes), everyone).lower)
    found |= refuted_by_box(goals, layers) | empty.unsqueeze(1)
    [samples] = (planes.given & ~found.all(dim=1)).nonzero(as_tuple=True)
    if len(samples) > 0:
        shares, sharing, begin = planes.shares[samples].double() / LEVELS, {}, 0
        for node in free_nodes(graph):
            count = shares_of(node) * math.prod(node.shape)
            part = shares[:, :, begin : begin + count]
            sharing[node.name] = part.unflatten(2, (shares_of(node), *node.shape)).movedim(2, 0)
            begin += count
        rows = mixed_rows(goals.of(samples), planes.weights[samples].double(), layers, samples)
        lower = minimum(layers, backward(layers, rows, samples, Sharing(sharing)), samples).lower
        found = found.index_copy(0, samples, found[samples] | (lower > 0))
    return found


def refuted_by_box(goals: Goals, layers: Layers) -> Tensor:
    """Which clauses (b, clauses) the boxes of the output alone refute."""
    found, void = goals.refuted_by_box(layers.boxes[layers.graph.output.name]), layers.void(slice(None))
    return found if void is None else found & ~void.unsqueeze(1)


@torch.no_grad()
def refuted_directly(problem: VerificationProblem, open: Tensor, method: str, deadline: Deadline = NEVER) -> Tensor:
    """Which open clauses (regions, clauses) one bound over each whole region proves refuted.

    Raises:
        BadInput: for a method that is not in :data:`DIRECT`.
        OutOfTime: once the deadline passed.
    """
    one_of("method", method, DIRECT)
    found, graph, everyone = torch.zeros_like(open), problem.exact, slice(None)
    if not bool(open.any()):
        return found
    at_once = min(max(1, CHUNK // problem.goals.C[0].numel()), samples_within(graph, None, problem.goals.C.device))
    for regions in open.any(dim=1).nonzero()[:, 0].split(at_once):
        goals, crown, part = problem.goals.of(regions), method == "crown", problem.region.rows(regions)
        tightened = tighten if crown else None
        layers = propagate(graph, part, claim=problem.claim, tighten=tightened, deadline=deadline)
        bounds = minimum(layers, backward(layers, goals.rows(graph), everyone, None), everyone)
        if crown:
            bounds = bounds.better(
                minimum(layers, backward(layers, goals.rows(graph), everyone, usual_planes), everyone)
            )
        found[regions] = goals.refuted(bounds.lower) | refuted_by_box(goals, layers)
    return found & open


def free_nodes(graph: Graph) -> list[Node]:
    """The nodes whose planes can be chosen, in order."""
    return [node for node in graph.nodes if shares_of(node) > 0]


def shares_of(node: Node) -> int:
    """The number of free shares of each entry of a node."""
    return node.operator.shares if isinstance(node.operator, Nonlinear) else 0


def mixed_rows(goals: Goals, weights: Tensor, layers: Layers, samples: Samples) -> LinearBounds:
    """One combination of each clause's rows with weights >= 0, (b, clauses) rows, and its rounding error.

    Where all rows are at most 0, so is the combination: if it is positive, it refutes the clause.

    Args:
        goals: of b regions.
        weights: (b, clauses, rows), not negative.
        layers, samples: boxes of the network's input and output, and which of its regions these are.
    """

    def mixed(values: Tensor) -> Tensor:
        return torch.einsum("bkr,bkr...->bk...", weights, values)

    graph, (count, clauses, rows) = layers.graph, goals.d.shape
    parts = {graph.output.name: goals.C} if goals.D is None else {graph.output.name: goals.C, graph.input: goals.D}
    A = {name: mixed(one).reshape(count, clauses, *graph.shapes[name]) for name, one in parts.items()}
    d = mixed(goals.d)
    if not layers.outward:
        return LinearBounds(A, d, torch.zeros_like(d))
    size = mixed(goals.d.abs())
    for name, one in parts.items():
        size = size + torch.einsum("bki,bi->bk", mixed(one.abs()), flat(layers.boxes[name].magnitude()[samples], 1))
    terms = rows + 8
    return LinearBounds(A, d, gamma(terms, d.dtype) * size + terms * smallest(d.dtype))
