"""The product of two results, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import down, gamma, smallest, unit, up
from certify.bounds.rules.base import RULES, Call, Nonlinear, NotCovered, Value
from certify.bounds.rules.power import Power
from certify.bounds.rules.select import expanded
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Multiply", "divide", "multiply"]


@RULES.register("multiply")
@dataclass(frozen=True, slots=True, eq=False)
class Multiply(Nonlinear):
    """``y = x_1 x_2``, enclosed by the planes of McCormick (1976).

    Two planes touch the surface from below and two from above, each along two edges of the box. A weighted mean of two
    is sound as well; with equal weights it is the tangent plane at the centre, shifted by a quarter of the box's area.
    """

    kind: ClassVar[str] = "multiply"
    shares: ClassVar[int] = 2

    def forward(self, *inputs: Tensor) -> Tensor:
        """The product."""
        return inputs[0] * inputs[1]

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The extremes lie at corners. Where a corner is no number (0 times infinity), nothing is known."""
        first, second = boxes
        corners = torch.stack([a * b for a in (first.lower, first.upper) for b in (second.lower, second.upper)])
        lower, upper = corners.amin(dim=0), corners.amax(dim=0)
        if outward:
            tiny = smallest(lower.dtype)
            lower, upper = down(lower - tiny), up(upper + tiny)
        return Interval.known(lower, upper)

    def executed(self, *boxes: Interval) -> Tensor:
        """One rounding."""
        return unit(torch.float32) * boxes[0].magnitude() * boxes[1].magnitude() + smallest(torch.float32)

    def bent(self, *boxes: Interval) -> Tensor:
        """Where neither factor is a fixed number."""
        return (boxes[0].lower < boxes[0].upper) & (boxes[1].lower < boxes[1].upper)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """From below ``l_2 x_1 + l_1 x_2 - l_1 l_2`` and ``u_2 x_1 + u_1 x_2 - u_1 u_2``; from above the mixed ends.

        The first share is the weight of the first plane below, the second that of ``u_2 x_1 + l_1 x_2 - l_1 u_2``
        above. Boxes whose products overflow have no planes.
        """
        first, second = boxes
        below, above = self.start(*boxes) if shares is None else shares
        lower_slopes, lower_offset = _mean_plane(below, first, second, second.lower, second.upper)
        upper_slopes, upper_offset = _mean_plane(above, first, second, second.upper, second.lower)
        # Four terms, none larger than the product of the largest factors, and at most eight roundings in each.
        sizes = first.magnitude(), second.magnitude()
        lost = 4 * gamma(8, sizes[0].dtype) * sizes[0] * sizes[1]
        lost = lost + 8 * smallest(lost.dtype) * (sizes[0] + sizes[1] + 1)
        lower_offset, upper_offset = lower_offset - lost, upper_offset + lost
        known = lower_offset.isfinite() & upper_offset.isfinite()
        return Relaxation(
            lower_slopes=tuple(torch.where(known, slope, 0.0) for slope in lower_slopes),
            lower_offset=torch.where(known, lower_offset, -torch.inf),
            upper_slopes=tuple(torch.where(known, slope, 0.0) for slope in upper_slopes),
            upper_offset=torch.where(known, upper_offset, torch.inf),
        )

    def start(self, *boxes: Interval) -> Tensor:
        """Equal weights."""
        return torch.full_like(boxes[0].lower, 0.5).expand(2, *boxes[0].shape)

    @staticmethod
    def example() -> Example:
        """A result times a function of itself, with signs open, positive and negative."""
        return Example(
            Applied(lambda x: (x + 1.5) * torch.relu(x - 0.2) - 0.5 * x),
            torch.tensor([[-1.0, 0.5, -2.5]]),
            torch.tensor([[1.5, 1.0, 0.5]]),
        )


def _mean_plane(
    share: Tensor, first: Interval, second: Interval, low: Tensor, high: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The plane that shares its slopes with ``x_1 x_2`` at the corner (l_1, low), and at (u_1, high), averaged.

    If a factor is constant its slope is 0: the other factor's slope is the constant.
    """
    rest = 1 - share
    slopes = share * low + rest * high, share * first.lower + rest * first.upper
    offset = -(share * first.lower * low + rest * first.upper * high)
    fixed = first.lower == first.upper
    fixed_second = ~fixed & (second.lower == second.upper)
    slopes = torch.where(fixed, 0.0, slopes[0]), torch.where(fixed_second, 0.0, slopes[1])
    return slopes, torch.where(fixed | fixed_second, 0.0, offset)


def multiply(call: Call, first: Value, second: Value) -> Value:
    """The product of two results whose shapes broadcast; a square is a power, which is tighter."""
    if first == second:
        return call.add(Power(2.0), first)
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise NotCovered(f"shapes {first.shape} and {second.shape} do not go together") from None
    return call.add(Multiply(), expanded(call, first, shape), expanded(call, second, shape))


def divide(call: Call, first: Value, second: Value) -> Value:
    """The product with the reciprocal of ``second``."""
    return multiply(call, first, call.add(Power(-1.0), second))
