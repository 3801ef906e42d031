"""The least value of linear functions of the input over a region: a box, and what it shares with a ball or a threat."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.linear import Coefficients, fit, sizes, weigh, whole
from certify.bounds.region import ORDER, Ball, Reach, Region
from certify.bounds.rounding import gamma, smallest
from certify.bounds.split import split
from certify.bounds.tensors import Interval
from certify.core.norms import DUAL

__all__ = ["over_region"]


def over_region(A: Coefficients, region: Region, terms: int | None) -> tuple[Tensor, Tensor]:
    """Lower bounds of ``A x``, (b, r), and the rounding errors they may contain.

    ``terms`` counts the roundings besides those of the products here; None if nobody asks for errors.
    """
    if region.ball is None:
        return _over_box(A, region.box, terms)
    if isinstance(region.ball, Reach):
        return region.ball.least(whole(A), region.box, terms)
    if not region.cut:
        return _over_ball(A, region.ball, terms)
    inner, outer = split(A, region)
    # Two roundings more: the difference that makes the outer part, and the sum below.
    terms = None if terms is None else terms + 2
    inner_value, inner_error = _over_ball(inner, region.ball, terms)
    outer_value, outer_error = _over_box(outer, region.box, terms)
    if terms is not None:
        # What the difference may have lost where it is too small for a float.
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
    # The radius itself took one rounding more than the products: it is counted in the terms.
    return value, gamma(entries + terms, dtype) * (weigh(A, center.abs(), size) + reach) + entries * smallest(dtype)


def _over_ball(A: Coefficients, ball: Ball, terms: int | None) -> tuple[Tensor, Tensor]:
    """Hoelder: ``A x >= A center - radius ||scale A||_dual``. Squares that underflow are paid for by a constant."""
    dtype, entries = ball.center.dtype, ball.center[0].numel()
    size = sizes(A if isinstance(A, Tensor) else A.masked())
    scaled = size if ball.scale is None else size * fit(A, ball.scale)
    reach = ball.radius.unsqueeze(1) * torch.linalg.vector_norm(scaled.flatten(2), ord=ORDER[DUAL[ball.norm]], dim=2)
    value = weigh(A, ball.center) - reach
    if terms is None:
        return value, torch.zeros_like(value)
    # Twice the reach has room for the rounding of the scaled entries.
    lost = gamma(entries + terms, dtype) * (weigh(A, ball.center.abs(), size) + 2 * reach)
    return value, lost + (1 + ball.radius.unsqueeze(1)) * (entries * smallest(dtype)) ** 0.5
