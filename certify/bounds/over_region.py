"""The least value of linear functions of the input over a box, a ball cut by a box, or what a threat reaches."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.linear import Coefficients, fit, held, sizes, weigh, whole
from certify.bounds.region import Ball, Reach, Region
from certify.bounds.rounding import gamma, smallest
from certify.bounds.tensors import Interval
from certify.core.norms import DUAL, ORDER

__all__ = ["over_region", "split"]


def over_region(A: Coefficients, region: Region, terms: int | None) -> tuple[Tensor, Tensor]:
    """Lower bounds of ``A x``, (b, r), and the rounding errors they may contain.

    ``terms`` counts further roundings besides those of the products here; None if errors are not needed.
    """
    if region.constraint is None:
        return _over_box(A, region.box, terms)
    if isinstance(region.constraint, Reach):
        return region.constraint.least(whole(A), region.box, terms)
    if not region.cut:
        return _over_ball(A, region.constraint, terms)
    inner, outer = split(A, region)
    # Two roundings more: the difference that makes the outer part, and the sum below.
    terms = None if terms is None else terms + 2
    inner_value, inner_error = _over_ball(inner, region.constraint, terms)
    outer_value, outer_error = _over_box(outer, region.box, terms)
    if terms is not None:
        # Pays for underflow in the difference.
        outer_error = outer_error + smallest(outer_value.dtype) * region.box.magnitude().flatten(1).sum(1, keepdim=True)
    return inner_value + outer_value, inner_error + outer_error


def _over_box(A: Coefficients, box: Interval, terms: int | None) -> tuple[Tensor, Tensor]:
    dtype, entries = box.lower.dtype, box.lower[0].numel()
    center = (box.lower + box.upper) / 2
    radius = torch.maximum(box.upper - center, center - box.lower)
    size = sizes(A)
    reach = weigh(A, radius, size)
    value = weigh(A, center) - reach
    if terms is None:
        return value, torch.zeros_like(value)
    # The radius took one rounding more than the products, which the terms count.
    return value, gamma(entries + terms, dtype) * (weigh(A, center.abs(), size) + reach) + entries * smallest(dtype)


def _over_ball(A: Coefficients, ball: Ball, terms: int | None) -> tuple[Tensor, Tensor]:
    """Hoelder: ``A x >= A center - radius ||scale A||_dual``. A constant pays for squares that underflow."""
    dtype, entries = ball.center.dtype, ball.center[0].numel()
    size = sizes(A if isinstance(A, Tensor) else A.masked())
    scaled = size if ball.scale is None else size * fit(A, ball.scale)
    reach = ball.radius.unsqueeze(1) * torch.linalg.vector_norm(scaled.flatten(2), ord=ORDER[DUAL[ball.norm]], dim=2)
    value = weigh(A, ball.center) - reach
    if terms is None:
        return value, torch.zeros_like(value)
    # Doubling the reach pays for the rounding of the scaled entries.
    lost = gamma(entries + terms, dtype) * (weigh(A, ball.center.abs(), size) + 2 * reach)
    return value, lost + (1 + ball.radius.unsqueeze(1)) * (entries * smallest(dtype)) ** 0.5


REFINEMENTS = 4
"""Updates of the l2 multiplier; each drops the entries that the last one drove to the edge of the box."""


def split(A: Coefficients, region: Region) -> tuple[Coefficients, Coefficients]:
    """Rows (b, r, ...) over a ball cut by a box, as a part to bound over the ball and a part to bound over the box.

    For any split ``A = A1 + A2``, ``A x`` is at least the minimum of ``A1 x`` over the ball plus that of ``A2 x`` over
    the box, and the best split attains the minimum over their intersection (the support function of an intersection,
    Rockafellar 1970, Corollary 16.4.1). Where the box is what stops an entry, A1 gets only as much of it as the others
    gain per unit of the ball.

    Any split is sound, so nothing here is rounded with care: A2 is ``A - A1``, one rounding. For l1 the split is the
    best (a fractional knapsack, found by sorting), for l2 nearly: the multiplier of the dual is approached from above,
    and every multiplier on the way is at least as good as the ball alone.
    """
    assert isinstance(region.constraint, Ball)
    A = A if isinstance(A, Tensor) else A.masked()
    ball, entries = region.constraint, held(A)
    below, above = (fit(A, side) for side in (ball.center - region.box.lower, region.box.upper - ball.center))
    reach = torch.where(entries > 0, below, above).flatten(2)
    gain, scale = entries.abs().flatten(2), None
    if ball.scale is not None:
        scale = fit(A, ball.scale).flatten(2)
        gain, reach = gain * scale, torch.where(scale > 0, reach / scale, 0.0)
    gain, reach = torch.broadcast_tensors(gain, reach)  # one ball stands for all rows, rows of one sample for all balls
    most = _most_l1(gain, reach, ball) if ball.norm == "l1" else _most_l2(gain, reach, ball)
    if scale is not None:
        most = torch.where(scale > 0, most / scale, 0.0)
    # NaN if radius and reach, or a row, are 0: give nothing to the ball there.
    most = most.nan_to_num(nan=0.0, posinf=torch.inf).expand(gain.shape).reshape(len(gain), *entries.shape[1:])
    inner = torch.clamp(entries, -most, most)
    if isinstance(A, Tensor):
        return inner, A - inner
    return A.holding(inner, A.inside), A.holding(entries - inner, A.inside)


def _most_l2(gain: Tensor, reach: Tensor, ball: Ball) -> Tensor:
    """The bound on |A1|, ``multiplier * reach``, for the multiplier at which the clipped step just fills the ball."""
    square, room = gain.square(), reach.square()
    radius = ball.radius.reshape(-1, 1, 1)
    multiplier = square.sum(2, keepdim=True).sqrt() / radius
    for _ in range(REFINEMENTS):
        clipped = gain > multiplier * reach
        left = radius.square() - torch.where(clipped, room, 0.0).sum(2, keepdim=True)
        free = torch.where(clipped, 0.0, square).sum(2, keepdim=True)
        multiplier = torch.minimum(multiplier, (free / left.clamp(min=0)).sqrt())
    return multiplier * reach


def _most_l1(gain: Tensor, reach: Tensor, ball: Ball) -> Tensor:
    """The bound on |A1|: the gain at which the radius is used up, largest gains first; 0 if it never is."""
    ordered, order = gain.sort(dim=2, descending=True)
    spent = reach.gather(2, order).cumsum(2)
    last = (spent < ball.radius.reshape(-1, 1, 1)).sum(2, keepdim=True)
    padded = torch.cat([ordered, torch.zeros_like(ordered[..., :1])], dim=2)
    return padded.gather(2, last)
