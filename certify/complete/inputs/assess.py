"""Assess boxes of inputs for the search: bounds in float32 without error terms, counterexamples, and where to cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.alpha_crown import optimize_rows
from certify.bounds.backward import backward, minimum, usual_planes
from certify.bounds.crown import tighten
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.hints import LEVELS
from certify.bounds.ibp import propagate
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds, whole
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.inputs.chain import Chain, usual_lines
from certify.complete.inputs.climb import climbed
from certify.complete.inputs.rows import Batch, Planes, free_nodes, mixed_rows, refuted_by_box
from certify.complete.problem import Goals, VerificationProblem

__all__ = ["Assessment", "Boxes", "assess"]

PLANE_STEPS = 3
"""Optimization steps for the planes of a row. They decide 99.9 % of ACAS Xu's hardest boxes, CROWN's planes 41 %."""

FEW_BOXES, NEARLY_DECIDED = 32, 0.4
"""For fewer boxes than FEW_BOXES, optimizing planes takes nearly as long as cutting. Then only those
are optimized whose lower bound lies within this share of the gap between the planes below and above a row."""

LEAST_SENSITIVITY = 0.05
"""Every input counts at least this share of the most sensitive one, or inputs that planes ignore would never be cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes(Batch):
    """Boxes of some regions.

    Args:
        lower, upper: (n, inputs).
        node: (n,) their nodes in the tree.
        region: (n,) the regions of the problem that they belong to.
        score: (n,) the lower bound of the box they were cut from: the lower, the further from decided.
    """

    lower: Tensor
    upper: Tensor
    node: Tensor
    region: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.node)

    def over(self, region: Region) -> Region:
        """The boxes as regions of the problem, with the ball of their region where it has one."""
        shape = (len(self), *region.box.shape[1:])
        ball = None if region.constraint is None else region.constraint.rows(self.region)
        return Region(Interval(self.lower.reshape(shape), self.upper.reshape(shape)), ball)


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """The assessment of some boxes.

    Args:
        decided: (b,) whether every open clause seems refuted.
        planes: planes that a claim should try besides CROWN's own.
        points: inputs (p, ...) that seem to be witnesses, of the network's dtype.
        cuts: (b, 2) the best inputs at which to cut each box, best first; -1 for none.
        score: (b,) the least lower bound of an open clause.
    """

    decided: Tensor
    planes: Planes
    points: Tensor
    cuts: Tensor
    score: Tensor


@torch.no_grad()
def assess(problem: VerificationProblem, open: Tensor, boxes: Boxes, deadline: Deadline = NEVER) -> Assessment:
    """Bound the rows of the open clauses (regions, clauses) over boxes, and say where to cut.

    A box is cut at the inputs with the largest slope times width, of the planes below and above the open rows.

    Raises:
        OutOfTime: once the deadline passed.
    """
    graph, goals, everyone = problem.quick, problem.goals.of(boxes.region).to(torch.float32), slice(None)
    region, empty = boxes.over(problem.region).part()
    chain = problem.chain
    tightened = tighten if chain is None else chain.tighten
    layers = propagate(graph, region.to(torch.float32), claim=None, tighten=tightened, deadline=deadline)
    both = goals.rows(graph).both_signs()
    if chain is None:
        bounds = backward(layers, both, everyone, usual_planes)
    else:
        bounds = chain.backward(layers, both, everyone, usual_lines)
    lower = minimum(layers, bounds, everyone).lower[:, : both.b.shape[1] // 2]
    value, row = lower.reshape(goals.d.shape).max(dim=2)
    best = F.one_hot(row, goals.d.shape[2]).float()
    wanted = open[boxes.region] & ~empty.unsqueeze(1) & ~refuted_by_box(goals, layers)
    [left] = (~(value > 0) & wanted).any(dim=1).nonzero(as_tuple=True)
    planes = Planes.none(len(boxes), problem.goals, graph)
    cuts, points = torch.full((len(boxes), 2), -1), boxes.lower[:0].reshape(0, *graph.shape).to(problem.graph.dtype)
    if len(left) > 0:
        below, above = _planes(bounds, graph.input, row, left)
        part = boxes.of(left)
        corner = torch.where(below[0] > 0, part.lower.unsqueeze(1), part.upper.unsqueeze(1)).float()
        most = (above[0] * corner).sum(dim=2) + above[1]
        # Where the plane above is not positive at the corner, neither is the row: no planes below could be.
        reach = 1.0 if len(left) >= FEW_BOXES else NEARLY_DECIDED
        near = (~(value[left] > 0) & (value[left] + reach * (most - value[left]) > 0) & wanted[left]).any(dim=1)
        planes, value = _searched(chain, layers, goals, planes, best, value, left[near])
        missing = ~(value[left] > 0) & wanted[left]
        sensitive = ((below[0].abs() + above[0].abs()) * missing.unsqueeze(2)).sum(dim=1)
        tiny = torch.finfo(torch.float32).tiny
        weight = (sensitive + LEAST_SENSITIVITY * sensitive.amax(dim=1, keepdim=True) + tiny) * (
            part.upper - part.lower
        )
        order = weight.topk(min(2, weight.shape[1]), dim=1)
        cuts[left, : order.indices.shape[1]] = torch.where(order.values > 0, order.indices, -1)
        points = _candidates(problem, part, corner)
    missing = ~(value > 0) & wanted
    score = torch.where(missing, value, torch.inf).amin(dim=1).double()
    return Assessment(~missing.any(dim=1), planes, points, cuts, score)


def _planes(bounds: LinearBounds, name: str, row: Tensor, samples: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The planes below and above one row of each clause: slopes (b, clauses, inputs) and offsets, for b samples.

    Args:
        bounds: of all rows, then of all rows negated.
        name: the input.
        row: (B, clauses), which row of each clause.
        samples: (b,).
    """
    clauses = row.shape[1]
    slopes, found = whole(bounds.A[name]).flatten(2), []
    at = samples.unsqueeze(1), torch.arange(clauses), row[samples]
    for sign, A, b in zip((1, -1), slopes.chunk(2, dim=1), bounds.b.chunk(2, dim=1), strict=True):
        found.append((sign * A.unflatten(1, (clauses, -1))[at], sign * b.unflatten(1, (clauses, -1))[at]))
    return found


def _searched(
    chain: Chain | None, layers: Layers, goals: Goals, planes: Planes, best: Tensor, value: Tensor, samples: Tensor
) -> tuple[Planes, Tensor]:
    """Optimize planes and row weights of some boxes: all planes, and the bounds (b, clauses) of all boxes with them."""
    if len(samples) == 0:
        return planes, value
    mine, start = goals.of(samples), best[samples]
    if chain is None:
        lower, weights, shares = _optimized(layers, mine, samples, start)
    else:
        lower, weights, shares = climbed(chain, layers, mine, samples, start, PLANE_STEPS)
    shares, weights = (
        every.index_copy(0, samples, (part * LEVELS).round().to(torch.uint8))
        for every, part in ((planes.shares, shares), (planes.weights, weights))
    )
    given = planes.given.index_fill(0, samples, True)
    value = value.index_copy(0, samples, torch.maximum(value[samples], lower))
    return Planes(weights, shares, given), value


def _optimized(layers: Layers, goals: Goals, samples: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`climbed`, for any network."""

    def rows(weights: Tensor) -> LinearBounds:
        return mixed_rows(goals, weights / weights.sum(dim=2, keepdim=True).clamp(min=1 / LEVELS), layers, samples)

    lower, found = optimize_rows(layers, rows, samples, PLANE_STEPS, start)
    none = start[:, :, :0]  # of a network without nonlinear operators
    shares = [none, *(found[node.name].movedim(0, 2).flatten(2) for node in free_nodes(layers.graph))]
    return lower, found[""][0], torch.cat(shares, dim=2)


def _candidates(problem: VerificationProblem, boxes: Boxes, corners: Tensor) -> Tensor:
    """Those of the corners where planes are least (b, clauses, inputs), and of the centres, that violate a clause."""
    places = torch.cat([corners.double(), ((boxes.lower + boxes.upper) / 2).unsqueeze(1)], dim=1)
    x = places.flatten(0, 1).reshape(-1, *problem.graph.shape).to(problem.graph.dtype)
    goals = problem.goals.of(boxes.region.repeat_interleave(places.shape[1]))
    return x[(goals.values(x.double(), problem.graph.forward(x).double()) <= 0).all(dim=2).any(dim=1)]
