"""The state of a counterexample search: regions and rows in float32, and the best points found so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from certify.attacks.ball import project, steepest
from certify.bounds.ball import Ball
from certify.bounds.graph import Graph
from certify.bounds.region import Reach
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval, flat
from certify.complete.problem import Goals, VerificationProblem, Witness

__all__ = ["ENTRIES", "Ground"]

ENTRIES = 2**25
"""The most numbers that a batch may hold, including those for its gradients."""

CLOSE = 2.0**-16
"""Row values up to this, relative to the sum of a row's terms, may be 0 up to float32 rounding: worth an execution."""

EXAMINED = 64
"""The most candidates that are passed on for execution at a time."""

UNBOUNDED, SEARCHED = 2.0**64, 2.0**10
"""An interval wider than UNBOUNDED does not say where an input lies. It is searched up to SEARCHED around 0, or up to
twice that from an end that is further from 0."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is searched, and the best points so far: ``best`` and ``at`` are updated in place.

    Clauses are numbered region by region.

    Args:
        problem: what is to be violated.
        lower, upper: ends (regions, inputs) of the boxes, rounded inward; equal where no float lies between them. For
            unbounded inputs, the ends of the interval that is searched.
        goals: the rows, divided by the sum of the sizes of their terms, so that values are relative.
        live: numbers of the clauses that are not padding.
        best: the least value found for each clause, the value being its largest row; a witness has at most 0.
        at: the points (regions * clauses, inputs) with these values; at first the centres.
    """

    problem: VerificationProblem
    lower: Tensor
    upper: Tensor
    goals: Goals
    live: Tensor
    best: Tensor
    at: Tensor

    @classmethod
    def of(cls, problem: VerificationProblem) -> Ground:
        """The initial state for a problem."""
        box, goals = problem.region.box, problem.goals
        lower, upper = _inward(flat(box.lower, 1), 1), _inward(flat(box.upper, 1), -1)
        between, nearest = lower > upper, flat(box.lower, 1).float()
        lower, upper = _searched(*(torch.where(between, nearest, end) for end in (lower, upper)))
        constant = (goals.C == 0).all(3) if goals.D is None else (goals.C == 0).all(3) & (goals.D == 0).all(3)
        live = (~(constant & (goals.d > 0)).any(2)).flatten().nonzero().squeeze(1)
        best = torch.full((goals.d.shape[0] * goals.d.shape[1],), torch.inf)
        at = ((lower + upper) / 2).repeat_interleave(goals.d.shape[1], 0)
        return cls(problem, lower, upper, _scaled(goals, problem.quick, lower, upper), live, best, at)

    @property
    def graph(self) -> Graph:
        """The network, float32."""
        return self.problem.quick

    @property
    def regions(self) -> int:
        """The number of regions."""
        return len(self.lower)

    @property
    def clauses(self) -> int:
        """The number of clauses of each region, padding included."""
        return self.goals.d.shape[1]

    @cached_property
    def cost(self) -> float:
        """Multiply-adds of one execution."""
        terms = (
            (n.shape, n.operator.forward_terms + 1 if isinstance(n.operator, Affine) else 4) for n in self.graph.nodes
        )
        return float(sum(math.prod(shape) * each for shape, each in terms))

    def rows(self, x: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (B, clauses, rows) at points (B, inputs) of regions (B,), and the network's outputs (B, outputs)."""
        y = flat(self.graph.forward(x.reshape(-1, *self.graph.shape)), 1)
        return self.goals.of(region).values(x, y), y

    def inside(self, x: Tensor, region: Tensor) -> Tensor:
        """Points (B, inputs) moved into their regions (B,)."""
        ball = self.problem.region.constraint
        if isinstance(ball, Reach):
            box = Interval(self.lower[region], self.upper[region])
            x = ball.rows(region).to(x.dtype).inside(x, box)
        elif ball is not None:
            scale = None if ball.scale is None else ball.scale.flatten()
            center, radius = flat(ball.center[region], 1), ball.radius[region].unsqueeze(1)
            x = project(center, x, radius, ball.norm, None, scale)
        return x.maximum(self.lower[region]).minimum(self.upper[region])

    def steepest(self, slope: Tensor, region: Tensor) -> Tensor:
        """Steps (B, inputs) of steepest ascent across the regions, for slopes (B, inputs) per width."""
        width, ball = self.upper[region] - self.lower[region], self.problem.region.constraint
        if not isinstance(ball, Ball):
            return slope.sign() * width
        scale = None if ball.scale is None else ball.scale.flatten()
        slope = torch.where(width > 0, slope / width, 0.0)
        return (2 * ball.radius[region].unsqueeze(1) * steepest(slope, ball.norm, scale)).float()

    def chosen(self, count: int, generator: torch.Generator) -> Tensor:
        """Clauses (count,) to work on: half of them any, half from the eighth nearest to a violation."""
        order = self.live[self.best[self.live].argsort(stable=True)]
        close = order[: max(1, len(order) // 8)]
        anyone = order if len(order) <= count else order[torch.randperm(len(order), generator=generator)]
        shares = ((anyone, count - count // 2), (close, count // 2))
        return torch.cat([part.repeat(-(-share // len(part)))[:share] for part, share in shares])

    def learn(self, x: Tensor, clause: Tensor, value: Tensor) -> Witness | None:
        """Record points (B, inputs) that improve on the best of their clauses (B,), and examine possible witnesses.

        A point examined without success remains the best of its clause, so only better points are examined next.
        """
        value = value.nan_to_num(nan=torch.inf)
        least = self.best.scatter_reduce(0, clause, value, "amin")
        better = ((value == least[clause]) & (value < self.best[clause])).nonzero().squeeze(1)
        self.best[clause[better]], self.at[clause[better]] = value[better], x[better]
        good = better[value[better] <= CLOSE]
        if not len(good):
            return None
        points = x[good[value[good].argsort(stable=True)[:EXAMINED]]]
        return self.problem.examine(points.reshape(-1, *self.graph.shape).to(self.problem.graph.dtype))


def _searched(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (regions, inputs) narrowed where they are unbounded: random points of those would be useless."""
    unbounded = upper / 2 - lower / 2 > UNBOUNDED / 2
    low = lower.maximum((upper - 2 * SEARCHED).clamp(max=-SEARCHED))
    high = upper.minimum((lower + 2 * SEARCHED).clamp(min=SEARCHED))
    return torch.where(unbounded, low, lower), torch.where(unbounded, high, upper)


def _inward(ends: Tensor, sign: int) -> Tensor:
    """Ends of boxes in float32, rounded inward: ``sign`` is 1 for lower ends and -1 for upper ones."""
    rounded = ends.float()
    outside = (rounded.double() - ends) * sign < 0
    return torch.where(outside, rounded.nextafter(torch.full_like(rounded, sign * torch.inf)), rounded)


@torch.no_grad()
def _scaled(goals: Goals, graph: Graph, lower: Tensor, upper: Tensor) -> Goals:
    """Rows in float32, divided by the largest sum of their terms' sizes at two corners and the centre of each box."""
    goals = goals.to(torch.float32)
    size = torch.zeros_like(goals.d)
    for some in torch.arange(len(lower)).split(max(1, ENTRIES // graph.widest)):
        for x in (lower[some], upper[some], (lower[some] + upper[some]) / 2):
            y = graph.forward(x.reshape(-1, *graph.shape))
            added = goals.of(some).sizes(x, y)
            size[some] = size[some].maximum(torch.where(added.isfinite(), added, 0.0))
    size = torch.where(size > 0, size, 1.0)
    D = None if goals.D is None else goals.D / size.unsqueeze(3)
    return Goals(goals.C / size.unsqueeze(3), D, goals.d / size)
