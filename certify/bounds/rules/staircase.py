"""Nondecreasing step functions of one number: the base of signs, comparisons and roundings.

On a box such a function rises from a to b, by one jump or by several equal and evenly spaced ones. A line of slope
s >= 0 above it has to pass over three points: the lower end of the box with value a, the first jump with the value
after it, and the last jump with value b. A line below has to pass under three others: the first jump with value a, the
last jump with the value before it, and the upper end with value b. The points of the other jumps lie on a line between
those of the first and the last, so they need not be checked. As both values at a jump are covered, it does not matter
which of them the function takes there.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Staircase"]

NARROW = 2.0**20
"""If a jump is closer to the end of the box than this many roundings of the numbers there, no steep line is tried."""


class Staircase(Nonlinear):
    """A function of one number that never falls, with jumps; its values and comparisons are exact in floats."""

    shares: ClassVar[int] = 2

    @abstractmethod
    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """The places of the first and the last jump in a box with this image, each off by at most one rounding.

        If they differ, the jumps from the first to the last have height 1 and distance 1.
        """

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The values at the ends, which are exact: the function never falls, and every jump inside is between them."""
        return Interval.known(self.forward(boxes[0].lower), self.forward(boxes[0].upper))

    def executed(self, *boxes: Interval) -> None:
        """No arithmetic, no rounding."""

    def bent(self, *boxes: Interval) -> Tensor:
        """Where there is a jump inside."""
        image = self.interval(boxes[0], outward=True)
        return image.lower < image.upper

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Lines of any slope from 0 to the steepest that touches at two points; constants where there is no jump.

        Args:
            boxes: the one box.
            shares: for the lower and the upper line, its slope relative to the steepest. None for the lines that are
                best in the middle of the box.
        """
        [box] = boxes
        image = self.interval(box, outward=True)
        (first, last), height, steepest = self._shape(box, image)
        chosen = self.start(box) if shares is None else shares
        u, tiny = unit(box.lower.dtype), 16 * smallest(box.lower.dtype)
        size = image.magnitude() + height
        reach = box.magnitude() + first.abs() + last.abs()
        sides = []
        for side, share, steep in zip((1, -1), chosen, steepest, strict=True):
            if side > 0:
                points = (first, image.lower), (last, image.upper - height), (box.upper, image.upper)
            else:
                points = (box.lower, image.lower), (first, image.lower + height), (last, image.upper)
            slope = share * steep
            nearest = torch.stack([side * (y - slope * x) for x, y in points]).amin(0)
            offset = side * (nearest - (16 * u * (size + slope * reach) + tiny))
            constant = image.lower if side > 0 else image.upper
            holds = (image.lower < image.upper) & slope.isfinite() & offset.isfinite()
            sides.append((torch.where(holds, slope, 0.0), torch.where(holds, offset, constant)))
        below, above = sides
        return Relaxation((below[0],), below[1], (above[0],), above[1])

    def start(self, *boxes: Interval) -> Tensor:
        """The steepest line where the middle of the box is on its slope, the constant elsewhere."""
        [box] = boxes
        first, last = self.jumps(self.interval(box, outward=True))
        middle = box.lower / 2 + box.upper / 2
        return torch.stack([middle > first, middle < last]).to(box.lower.dtype)

    def _shape(self, box: Interval, image: Interval) -> tuple[tuple[Tensor, Tensor], Tensor, tuple[Tensor, Tensor]]:
        """Both jumps, their height, and the steepest slopes of lines below and above."""
        first, last = self.jumps(image)
        single, rise = first >= last, image.upper - image.lower
        height = torch.where(single, rise, 1.0)
        least = NARROW * unit(box.lower.dtype) * (box.magnitude() + first.abs()) + smallest(box.lower.dtype)
        runs = box.upper - first, last - box.lower
        steepest = [torch.where(run > least, rise / run.maximum(least), 0.0) for run in runs]
        below, above = (torch.where(single, slope, 1.0) for slope in steepest)
        return (first, last), height, (below, above)
