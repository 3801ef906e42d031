"""Functions of one number that never fall and are constant between jumps: the engine of signs, steps and roundings.

On a box such a function goes from a to b, by one jump or by several of one height that lie evenly. Above it, the line
of a slope s >= 0 has to pass over three points: the lower end of the box with a, the first jump with the value after
it, the last jump with b. Below it, under three others: the first jump with a, the last one with the value before it,
the upper end with b. Between the first and the last, the points of all jumps lie on one line, so no other can be
further out. A jump has values on both sides of its place, so it does not matter which of them is taken there.
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
"""A jump closer to the end of a box than so many roundings of the numbers there gets no steep line."""


class Staircase(Nonlinear):
    """A function of one number that never falls, with jumps; its values and comparisons are exact in floats."""

    shares: ClassVar[int] = 2

    @abstractmethod
    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """The places of the first and of the last jump in a box with this image, each off by a rounding at most.

        Where they differ, the jumps between them are of height 1 and at distance 1.
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
            shares: for the lower and the upper line, where its slope is between 0 and the steepest. None for the lines
                that are best in the middle of the box.
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
