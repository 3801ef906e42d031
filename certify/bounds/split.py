"""Rows over a ball cut by a box: each row is shared out between the two.

For any split ``A = A1 + A2``, ``A x`` is at least the minimum of ``A1 x`` over the ball plus that of ``A2 x`` over the
box, and the best split attains the minimum over what the two have in common (the support function of an intersection,
Rockafellar 1970, Corollary 16.4.1). Where the box is what stops an entry, A1 gets only as much of it as the others
gain per unit of the ball.
"""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.linear import Coefficients, fit, held
from certify.bounds.region import Ball, Region

__all__ = ["split"]

STEPS = 4
"""Refinements of the l2 multiplier; each lets go of the entries that the last one drove to the edge of the box."""


def split(A: Coefficients, region: Region) -> tuple[Coefficients, Coefficients]:
    """Rows (b, r, ...) as a part to bound over the region's ball and a part to bound over its box.

    Any answer is sound, so nothing here is rounded with care: the second part is the first one's difference to A, one
    rounding. For l1 the split is the best (a fractional knapsack, found by sorting), for l2 nearly (the multiplier of
    the dual is approached from above, and what is reached is never worse than the ball alone).
    """
    assert isinstance(region.ball, Ball)
    A = A if isinstance(A, Tensor) else A.masked()
    ball, entries = region.ball, held(A)
    below, above = (fit(A, side) for side in (ball.center - region.box.lower, region.box.upper - ball.center))
    reach = torch.where(entries > 0, below, above).flatten(2)
    gain, scale = entries.abs().flatten(2), None
    if ball.scale is not None:
        scale = fit(A, ball.scale).flatten(2)
        gain, reach = gain * scale, torch.where(scale > 0, reach / scale, 0.0)
    most = _most_l1(gain, reach, ball) if ball.norm == "l1" else _most_l2(gain, reach, ball)
    if scale is not None:
        most = torch.where(scale > 0, most / scale, 0.0)
    # NaN where radius and reach are 0 or a row is: nothing is given to the ball there.
    most = most.nan_to_num(nan=0.0, posinf=torch.inf).expand(gain.shape).reshape(entries.shape)
    inner = torch.clamp(entries, -most, most)
    if isinstance(A, Tensor):
        return inner, A - inner
    return A.holding(inner, A.inside), A.holding(entries - inner, A.inside)


def _most_l2(gain: Tensor, reach: Tensor, ball: Ball) -> Tensor:
    """The largest |A1|: ``multiplier * reach``, with the multiplier at which clipped steps just fill the ball."""
    square, room = gain.square(), reach.square()
    radius = ball.radius.reshape(-1, 1, 1)
    multiplier = square.sum(2, keepdim=True).sqrt() / radius
    for _ in range(STEPS):
        clipped = gain > multiplier * reach
        left = radius.square() - torch.where(clipped, room, 0.0).sum(2, keepdim=True)
        free = torch.where(clipped, 0.0, square).sum(2, keepdim=True)
        multiplier = torch.minimum(multiplier, (free / left.clamp(min=0)).sqrt())
    return multiplier * reach


def _most_l1(gain: Tensor, reach: Tensor, ball: Ball) -> Tensor:
    """The largest |A1|: the gain of the entry at which the radius is spent, the dearest first; 0 if it never is."""
    ordered, order = gain.sort(dim=2, descending=True)
    spent = reach.expand(gain.shape).gather(2, order).cumsum(2)
    last = (spent < ball.radius.reshape(-1, 1, 1)).sum(2, keepdim=True)
    padded = torch.cat([ordered, torch.zeros_like(ordered[..., :1])], dim=2)
    return padded.gather(2, last)
