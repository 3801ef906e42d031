"""Sub-boxes of a ball's bounding box: which miss the ball, and which region to bound over for the others."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.region import Ball, Reach, Region
from certify.bounds.rounding import smallest, up
from certify.bounds.tensors import flat
from certify.core.norms import ORDER

__all__ = ["part_of_ball"]

FAR = 1000.0
"""A ball with this many times the radius of a box does not restrict it."""


def part_of_ball(region: Region) -> tuple[Region, Tensor]:
    """Regions that bounds can be taken over, and which of them (b,) are proven to be empty.

    A sub-box that contains the ball's centre keeps the ball constraint, for bounds over the intersection of ball and
    box need the centre in the box. Other sub-boxes are empty if they miss the ball, and else are bounded as boxes:
    their ball is replaced by a far larger one around the box. As boxes shrink, this loses nothing.

    >>> ball = Ball(torch.zeros(3, 2), torch.ones(3), "l2")
    >>> lower, upper = torch.tensor([[-1.0, -1.0], [0.5, 0.5], [0.8, 0.8]]), torch.ones(3, 2)
    >>> from certify.bounds.tensors import Interval, flat
    >>> part_of_ball(Region(Interval(lower, upper), ball))[1]
    tensor([False, False,  True])
    """
    box, ball = region.box, region.constraint
    if ball is None:
        return region, torch.zeros(len(box.lower), dtype=torch.bool, device=box.lower.device)
    if isinstance(ball, Reach):
        return region, ball.misses(box)
    holds = flat((box.lower <= ball.center) & (ball.center <= box.upper), 1).all(1)
    middle, half = box.lower / 2 + box.upper / 2, up((box.upper - box.lower) / 2)
    # The smallest float pays for underflow in the length: the ball must not be too small for the box.
    reach = FAR * (_length(half, ball) + smallest(half.dtype))
    along = holds.reshape(-1, *(1,) * (middle.dim() - 1))
    around = Ball(
        torch.where(along, ball.center, middle), torch.where(holds, ball.radius, reach), ball.norm, ball.scale
    )
    return Region(box, around, cut=True), ~holds & _misses(region, ball)


def _misses(region: Region, ball: Ball) -> Tensor:
    """Whether every point of a box is farther from the centre than the radius, despite all roundings.

    A length that overflows proves nothing: the radius may be as large.
    """
    box = region.box
    gap = torch.maximum(box.lower - ball.center, ball.center - box.upper).clamp(min=0)
    room = 1 - (gap[0].numel() + 16) * torch.finfo(gap.dtype).eps
    length = _length(gap, ball)
    return length.isfinite() & (length * room > ball.radius)


def _length(difference: Tensor, ball: Ball) -> Tensor:
    """The norm (b,) of differences (b, ...) divided by the ball's scale; features of scale 0 cannot differ."""
    if ball.scale is not None:
        difference = torch.where(ball.scale > 0, difference / ball.scale, 0.0)
    entries = flat(difference, 1)
    largest = entries.abs().amax(1)
    # Divided by the largest entry, so that no square overflows or underflows.
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    return unit * torch.linalg.vector_norm(entries / unit.unsqueeze(1), ord=ORDER[ball.norm], dim=1)
