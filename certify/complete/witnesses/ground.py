"""Where counterexamples are searched: regions and rows in float32, and the best points found so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from certify.attacks.ball import project, steepest
from certify.bounds.graph import Graph
from certify.bounds.region import Ball, Reach
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval, flat
from certify.complete.problem import Goals, VerificationProblem, Witness

__all__ = ["ENTRIES", "Ground"]

ENTRIES = 2**25
"""Numbers that a batch may keep, those for its gradients included."""

CLOSE = 2.0**-16
"""Values that float32 cannot tell from 0, in parts of what a row adds up: worth an execution, which may differ."""

EXAMINED = 64

UNBOUNDED, SEARCHED = 2.0**64, 2.0**10
"""A box that is wider than the first says nothing of where an input is: points are taken from so far around 0, or from
twice that beyond the end that says something."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is searched, and what was found there: ``best`` and ``at`` change in place.

    Clauses of all regions are numbered region by region.

    Args:
        problem: where it comes from.
        lower, upper: ends (regions, inputs) of the boxes, rounded inward; equal where no float is between them. Of
            boxes without bounds, ends of the part that is searched.
        goals: the rows in parts of what they add up: about 1 where nothing cancels.
        live: numbers of the clauses that are no padding.
        best: the least value of each clause, which is that of its greatest row; a witness has 0 or less.
        at: where that was (regions * clauses, inputs); the centre as long as nothing was found.
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
        """The ground of a problem, nothing found yet."""
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
        """How many there are."""
        return len(self.lower)

    @property
    def clauses(self) -> int:
        """How many each region has, padding included."""
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
        ball = self.problem.region.ball
        if isinstance(ball, Reach):
            box = Interval(self.lower[region], self.upper[region])
            x = ball.rows(region).to(x.dtype).inside(x, box)
        elif ball is not None:
            scale = None if ball.scale is None else ball.scale.flatten()
            center, radius = flat(ball.center[region], 1), ball.radius[region].unsqueeze(1)
            x = project(center, x, radius, ball.norm, None, scale)
        return x.maximum(self.lower[region]).minimum(self.upper[region])

    def steepest(self, slope: Tensor, region: Tensor) -> Tensor:
        """Steps (B, inputs) across regions along which a function grows fastest, of slopes (B, inputs) per width."""
        width, ball = self.upper[region] - self.lower[region], self.problem.region.ball
        if not isinstance(ball, Ball):
            return slope.sign() * width
        scale = None if ball.scale is None else ball.scale.flatten()
        slope = torch.where(width > 0, slope / width, 0.0)
        return (2 * ball.radius[region].unsqueeze(1) * steepest(slope, ball.norm, scale)).float()

    def chosen(self, count: int, generator: torch.Generator) -> Tensor:
        """Clauses (count,) to work on: half of them any, half among the eighth that is closest to a violation."""
        order = self.live[self.best[self.live].argsort(stable=True)]
        close = order[: max(1, len(order) // 8)]
        anyone = order if len(order) <= count else order[torch.randperm(len(order), generator=generator)]
        shares = ((anyone, count - count // 2), (close, count // 2))
        return torch.cat([part.repeat(-(-share // len(part)))[:share] for part, share in shares])

    def learn(self, x: Tensor, clause: Tensor, value: Tensor) -> Witness | None:
        """Keep the points (B, inputs) that are the best of their clauses (B,), and examine those that may be witnesses.

        A point that was examined in vain is the best of its clause: what is examined next comes closer.
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
    """Boxes (regions, inputs) narrowed where they are unbounded: no sample of those would be of any use."""
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
    """Rows in float32, in parts of the most that they add up at two corners and the centres of the boxes."""
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
