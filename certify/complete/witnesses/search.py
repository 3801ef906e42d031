"""Search for counterexamples: random points first, then gradient descents from more and more starting points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from certify.bounds.adam import Adam
from certify.bounds.deadline import Deadline
from certify.complete.problem import VerificationProblem, Witness
from certify.complete.witnesses.ground import ENTRIES, Ground
from certify.data.generators import keyed_generator

__all__ = ["hunt"]

PIECE_WORK = 5e8
"""Multiply-adds in one piece of work: some tens of milliseconds."""

CALL_WORK = 5e5
"""The overhead of calling one operator, in multiply-adds."""


def hunt(problem: VerificationProblem, deadline: Deadline, seed: int = 0) -> Iterator[Witness | None]:
    """Search for a counterexample, one piece of work at each ``next``, cheap ones first.

    Rounds go on until a witness is found or the time is over. A round tries points of each region (centre, corners,
    random ones). Then it minimises clauses by projected gradient descent (Madry et al. 2018) from the best points so
    far, from random ones, and after steps along a random direction of the outputs (Tashiro et al. 2020), with signs of
    the gradient or with Adam. Last it tries points near the best ones, without gradients. Clauses nearer to a violation
    get more of the work; later rounds have more starting points and more steps.

    Args:
        problem: regions, goals, and ``examine``, which makes the witnesses.
        deadline: the search ends after the piece of work in which it passes.
        seed: determines all points, whatever the time and whatever happens between the pieces.

    Yields:
        None after each piece without a witness; at last the witness.
    """
    ground = Ground.of(problem)
    if not len(ground.live):
        return
    for number in itertools.count():
        for found in _round(ground, number, keyed_generator(f"hunt {seed} {number}")):
            yield found
            if found is not None or deadline.passed:
                return


def _round(ground: Ground, number: int, generator: torch.Generator) -> Iterator[Witness | None]:
    if number < 3:
        yield from _sample(ground, 4 ** (4 + number), generator)
    kept = sum(math.prod(shape) for shape in ground.graph.shapes.values())
    most = min(max(16, int(4 * PIECE_WORK / ground.cost)), int(16 * PIECE_WORK / ground.cost))
    count = max(1, min(16 * 2 ** min(number, 8), ENTRIES // kept, most))
    clause = ground.chosen(count, generator)
    starts = ground.at[clause] if number == 0 else _starts(ground, clause, generator)
    yield from _descend(ground, clause, starts, min(10 * 2**number, 160), generator)
    yield from _around(ground, generator)


@torch.no_grad()
def _sample(ground: Ground, points: int, generator: torch.Generator) -> Iterator[Witness | None]:
    """Points of each region: the centre, and corners and random ones in equal parts."""
    each = max(1, min(points, int(PIECE_WORK / ground.cost)) // ground.regions)
    inputs = ground.lower.shape[1]
    at_once = max(1, int(min(PIECE_WORK / ground.cost, ENTRIES / max(ground.graph.widest, inputs * ground.clauses))))
    regions = torch.arange(ground.regions).repeat_interleave(each)
    kinds = torch.arange(each).repeat(ground.regions).unsqueeze(1)
    for region, kind in zip(regions.split(at_once), kinds.split(at_once), strict=True):
        share = torch.rand(len(region), inputs, generator=generator)
        share = torch.where(kind % 2 == 1, share.round(), share).where(kind > 0, torch.tensor(0.5))
        x = ground.inside(ground.lower[region] + share * (ground.upper[region] - ground.lower[region]), region)
        rows, _ = ground.rows(x, region)
        clause = region.unsqueeze(1) * ground.clauses + torch.arange(ground.clauses)
        yield ground.learn(x.repeat_interleave(ground.clauses, 0), clause.flatten(), rows.amax(2).flatten())


def _starts(ground: Ground, clause: Tensor, generator: torch.Generator) -> Tensor:
    """Starting points: in equal parts corners, random points, points between the best and those, and the best."""
    region = clause // ground.clauses
    lower, width, best = ground.lower[region], ground.upper[region] - ground.lower[region], ground.at[clause]
    share = torch.rand(lower.shape, generator=generator)
    anywhere = lower + share * width
    choices = torch.stack([lower + share.round() * width, anywhere, best + 0.2 * (anywhere - best), best])
    numbers = torch.arange(len(clause))
    return ground.inside(choices[numbers % 4, numbers], region)


def _descend(
    ground: Ground, clause: Tensor, x: Tensor, steps: int, generator: torch.Generator
) -> Iterator[Witness | None]:
    """Descents on clauses (B,) from starts (B, inputs): on the largest row, or on the sum of the positive rows."""
    region, own = clause // ground.clauses, (torch.arange(len(clause)), clause % ground.clauses)
    width = ground.upper[region] - ground.lower[region]
    kind, aims, first, last = torch.rand(4, len(x), 1, generator=generator)
    by_sign, summed, wandering = kind < 0.5, aims.squeeze(1) < 0.3, aims.squeeze(1) > 0.7
    first, last = (
        0.5 * 0.1**first,
        0.1 ** (1 + 4 * last),
    )  # step sizes relative to the width: the first, and the factor to the last
    direction = torch.randn(len(x), math.prod(ground.graph.output.shape), generator=generator)
    adam, work = Adam(square=0.99, tiny=1e-8), 0.0
    for step in range(steps + 1):
        with torch.enable_grad():
            x.requires_grad_()
            rows, y = ground.rows(x, region)
            rows = rows[own]
            value = rows.amax(1)
            aim = torch.where(summed, rows.clamp(min=0).sum(1), value)
            if step < steps // 5:
                aim = torch.where(wandering, (direction * y).sum(1), aim)
            slope = _gradient(aim, x)
        x = x.detach()
        found = ground.learn(x, clause, value.detach())
        if found is not None or step == steps:
            yield found
            return
        slope = (slope * width).nan_to_num()
        most = slope.abs().amax(1, keepdim=True)
        anyhow = torch.rand(x.shape, generator=generator) - 0.5  # a random direction where the gradient is 0
        slope = torch.where(most > 0, slope / most, anyhow)
        mean, size, correction = adam(slope)
        move = torch.where(by_sign, ground.steepest(slope, region), correction * mean / size * width)
        x = ground.inside(x - first * last ** (step / steps) * move, region)
        work += 3 * ground.cost * len(x) + CALL_WORK * len(ground.graph.nodes)
        if work > PIECE_WORK:
            work = 0.0
            yield None


def _gradient(aim: Tensor, x: Tensor) -> Tensor:
    """The gradient of each aim (B,) by its point (B, inputs); 0 if it depends on the point through comparisons only."""
    slope = torch.autograd.grad(aim.sum(), x, allow_unused=True)[0] if aim.requires_grad else None
    return torch.zeros_like(x) if slope is None else slope


@torch.no_grad()
def _around(ground: Ground, generator: torch.Generator) -> Iterator[Witness | None]:
    """Points near the best ones, at random distances, that differ in one input or in about half of them."""
    inputs = ground.lower.shape[1]
    count = max(1, min(1024, int(PIECE_WORK / 8 / ground.cost), ENTRIES // max(ground.graph.widest, inputs)))
    single = torch.arange(count).unsqueeze(1) % 2 == 0
    for _ in range(4):
        clause = ground.chosen(count, generator)
        region = clause // ground.clauses
        far = 10 ** (-5 * torch.rand(count, 1, generator=generator)) * (ground.upper[region] - ground.lower[region])
        draw = torch.rand(count, inputs, generator=generator)
        moved = torch.where(single, draw == draw.amax(1, keepdim=True), draw < 0.5)
        x = ground.at[clause] + moved * far * torch.randn(count, inputs, generator=generator)
        x = ground.inside(x, region)
        rows, _ = ground.rows(x, region)
        yield ground.learn(x, clause, rows[torch.arange(count), clause % ground.clauses].amax(1))
