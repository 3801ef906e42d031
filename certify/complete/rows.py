"""Bounds of the rows of goals over boxes of inputs: the claim, which a search and a replay share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from certify.bounds.alpha_crown import Sharing
from certify.bounds.backward import backward, minimum, usual_planes
from certify.bounds.crown import CHUNK, tighten
from certify.bounds.graph import Graph, Node
from certify.bounds.hints import LEVELS
from certify.bounds.ibp import propagate
from certify.bounds.linear import LinearBounds
from certify.bounds.region import Region
from certify.bounds.rules.base import Nonlinear
from certify.complete.part_of_ball import part_of_ball
from certify.complete.problem import Goals, Problem
from certify.core.values import one_of

__all__ = ["DIRECT", "Planes", "chosen_rows", "free_nodes", "refuted", "refuted_directly", "shares_of"]

DIRECT = ("ibp", "crown")
"""What can refute clauses over whole regions, the cheap one first. The second one refutes what the first one does."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Planes for one row of each clause, found by a search.

    Args:
        rows: (n, clauses) which row.
        shares: (n, clauses, shares of all neurons) whole numbers up to LEVELS, in the order of :func:`free_nodes`.
        given: (n,) whether there are any; elsewhere CROWN's own do.
    """

    rows: Tensor
    shares: Tensor
    given: Tensor

    def of(self, which: Tensor | slice) -> Planes:
        """Those of some boxes."""
        return Planes(self.rows[which], self.shares[which], self.given[which])

    @classmethod
    def none(cls, rows: Tensor, count: int) -> Planes:
        """CROWN's own, where neurons have ``count`` shares."""
        return cls(
            rows, rows.new_zeros(*rows.shape, count, dtype=torch.uint8), torch.zeros(len(rows), dtype=torch.bool)
        )

    @classmethod
    def join(cls, parts: Sequence[Planes]) -> Planes:
        """All of several."""
        return cls(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(cls)))


def refuted(problem: Problem, region: Region, goals: Goals, planes: Planes) -> Tensor:
    """Which clauses (b, clauses) are proven to be refuted over regions: float64, error terms, and nothing believed.

    Whatever the planes are, they are sound; a row that does not exist is an error.
    """
    graph, everyone = problem.exact, slice(None)
    region, empty = part_of_ball(region)
    layers = propagate(graph, region, claim=problem.claim, tighten=tighten)
    found = goals.refuted(minimum(layers, backward(layers, goals.rows(graph), everyone, usual_planes), everyone).lower)
    found |= empty.unsqueeze(1)
    [samples] = (planes.given & ~found.all(dim=1)).nonzero(as_tuple=True)
    if len(samples) > 0:
        shares, sharing, begin = planes.shares[samples].double() / LEVELS, {}, 0
        for node in free_nodes(graph):
            count = shares_of(node) * math.prod(node.shape)
            part = shares[:, :, begin : begin + count]
            sharing[node.name] = part.unflatten(2, (shares_of(node), *node.shape)).movedim(2, 0)
            begin += count
        rows = chosen_rows(goals.of(samples), planes.rows[samples], graph)
        lower = minimum(layers, backward(layers, rows, samples, Sharing(sharing)), samples).lower
        found = found.index_copy(0, samples, found[samples] | (lower > 0))
    return found


@torch.no_grad()
def refuted_directly(problem: Problem, open: Tensor, method: str) -> Tensor:
    """Which open clauses (regions, clauses) are proven to be refuted by one bound over each whole region.

    Raises:
        BadInput: for a method that is not in :data:`DIRECT`.
    """
    one_of("method", method, DIRECT)
    found, graph, everyone = torch.zeros_like(open), problem.exact, slice(None)
    if not bool(open.any()):
        return found
    for regions in open.any(dim=1).nonzero()[:, 0].split(max(1, CHUNK // problem.goals.C[0].numel())):
        goals = problem.goals.of(regions)
        crown = method == "crown"
        layers = propagate(graph, problem.region.rows(regions), claim=problem.claim, tighten=tighten if crown else None)
        bounds = minimum(layers, backward(layers, goals.rows(graph), everyone, None), everyone)
        if crown:
            bounds = bounds.better(
                minimum(layers, backward(layers, goals.rows(graph), everyone, usual_planes), everyone)
            )
        found[regions] = goals.refuted(bounds.lower)
    return found & open


def free_nodes(graph: Graph) -> list[Node]:
    """The nodes whose planes can be chosen, in order."""
    return [node for node in graph.nodes if shares_of(node) > 0]


def shares_of(node: Node) -> int:
    """How many free shares each of a node's entries has."""
    return node.operator.shares if isinstance(node.operator, Nonlinear) else 0


def chosen_rows(goals: Goals, rows: Tensor, graph: Graph, sign: float = 1.0) -> LinearBounds:
    """One row of each clause, (b, clauses) rows, or its negative."""

    def taken(values: Tensor) -> Tensor:
        index = rows.reshape(*rows.shape, 1, *(1,) * (values.dim() - 3))
        return sign * values.gather(2, index.expand(*rows.shape, 1, *values.shape[3:])).squeeze(2)

    C, d = taken(goals.C), taken(goals.d)
    D = None if goals.D is None else taken(goals.D).unsqueeze(2)
    return Goals(C.unsqueeze(2), D, d.unsqueeze(2)).rows(graph)
