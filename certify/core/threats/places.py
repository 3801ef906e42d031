"""The places of a square patch in images of one shape: what proofs and attacks ask of the threat ``patch``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certify.core.threats.base import Reaching

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Places"]


@dataclass(frozen=True, slots=True)
class Places(Reaching):
    """Squares of pixels inside images (channels, height, width), each of which takes any value of the box.

    The places of a side are numbered row by row, by their upper left pixel. A patch that covers fewer pixels than its
    square is a patch as well, so larger sides reach whatever smaller ones do.

    Args:
        channels, height, width: of the images; they are flattened in this order.
    """

    channels: int
    height: int
    width: int

    def side(self, radius: float) -> int:
        """The largest side that a radius allows; beyond the image it is that of the largest square inside."""
        return int(max(0, min(math.floor(radius), self.height, self.width)))

    def regions(self, radius: float) -> int:
        """The number of places."""
        side = self.side(radius)
        return (self.height - side + 1) * (self.width - side + 1) if side else 1

    def gains(self, values: Tensor, radius: float) -> Tensor:
        """What the features (b, n) of each place add up to, (b, places)."""
        return self._sums(values, self.side(radius))

    def boxes(
        self, x: Tensor, radius: float, lower: Tensor, upper: Tensor, which: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The box of all values at one place each, x elsewhere."""
        covered = self._covered(x, self.side(radius), x.detach().double().new_tensor(which).long())
        return lower.where(covered, x), upper.where(covered, x)

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The box of all values, as every pixel lies in some square; x itself for a radius below 1."""
        free = (radius >= 1).reshape(-1, 1)
        return lower.where(free, x), upper.where(free, x)

    def minimum(self, A: Tensor, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """What rows are at x, less the most that the pixels of one place gain together."""
        at = A * x.unsqueeze(1)
        gains = at - (A.clamp(min=0) * lower.unsqueeze(1) + A.clamp(max=0) * upper.unsqueeze(1))
        gained = A.new_zeros(A.shape[:2])
        for side, rows in self._alike(radius):
            if side:
                allowed = self._allowed(self._outside(x, lower, upper)[rows], side)
                sums = self._sums(gains[rows], side).masked_fill(~allowed.unsqueeze(1), -math.inf)
                gained[rows] = sums.amax(dim=2)
        return at.sum(dim=2) - gained

    def misses(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Where the pixels that have to change, because the box excludes their own value, fit into no square."""
        outside = self._outside(x, lower, upper)
        missed = (lower > upper).any(dim=1)
        for side, rows in self._alike(radius):
            missed[rows] |= ~self._allowed(outside[rows], side).any(dim=1)
        return missed

    def project(self, x: Tensor, z: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """The place whose pixels moved the most, brought into the box."""
        values = z.maximum(lower).minimum(upper)
        return self._placed(x, values, (values - x).abs(), self._outside(x, lower, upper), radius)

    def climb(
        self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        """A patch moves on where it is. Without one, the place is taken that gains the most if the loss were linear."""
        best = upper.where(gradient > 0, lower)
        moved = z != x
        step = (z + share * (upper - lower) * gradient.sign()).maximum(lower).minimum(upper)
        values = step.where(moved.any(dim=1, keepdim=True), best)
        return self._placed(x, values, (gradient * (best - x)).clamp(min=0), moved, radius)

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """Any place, and any values there."""
        drawn = x.new_empty(1, x.shape[1] + 1).uniform_(generator=generator)
        place = (drawn[:, -1] * self.regions(float(radius))).long()
        values = lower + drawn[:, :-1] * (upper - lower)
        side = self.side(float(radius))
        return values.where(self._covered(x, side, place), x) if side else x.clone()

    def _alike(self, radius: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The sides of radii (b,), and the rows of each."""
        sides = radius.new_tensor([self.side(one) for one in radius.tolist()])
        for side in sorted(set(sides.tolist())):
            yield int(side), (sides == side).nonzero()[:, 0]

    def _outside(self, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Which features (b, n) cannot keep their value in a box."""
        return ~((lower <= x) & (x <= upper))

    def _sums(self, values: Tensor, side: int) -> Tensor:
        """Values (..., n) of features added up over each place, (..., places)."""
        pixels = values.reshape(*values.shape[:-1], self.channels, self.height, self.width).sum(dim=-3)
        lines = pixels.unfold(-1, side, 1).sum(dim=-1)
        return lines.unfold(-2, side, 1).sum(dim=-1).flatten(-2)

    def _allowed(self, changed: Tensor, side: int) -> Tensor:
        """Which places (b, places) cover all features (b, n) that change."""
        if side == 0:
            return ~changed.any(dim=1, keepdim=True)
        counts = changed.double()  # whole numbers far below 2**53: exact in any order of summation
        return self._sums(counts, side) == counts.sum(dim=1, keepdim=True)

    def _covered(self, x: Tensor, side: int, place: Tensor) -> Tensor:
        """Which features (b, n) lie in the square at a place (b,)."""
        across = self.width - side + 1
        like = x.detach().double()
        row, column = like.new_tensor(range(self.height)).long(), like.new_tensor(range(self.width)).long()
        top, left = (place // across).unsqueeze(1), (place % across).unsqueeze(1)
        rows, columns = (top <= row) & (row < top + side), (left <= column) & (column < left + side)
        square = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
        return square.expand(-1, self.channels, -1, -1).flatten(1)

    def _placed(self, x: Tensor, values: Tensor, worth: Tensor, kept: Tensor, radius: Tensor) -> Tensor:
        """The values at the place that is worth the most, of those that cover what is kept if any does; x elsewhere."""
        found = x.clone()
        for side, rows in self._alike(radius):
            if side:
                scores = self._sums(worth[rows], side)
                allowed = self._allowed(kept[rows], side)
                scores = scores.masked_fill(~(allowed | ~allowed.any(dim=1, keepdim=True)), -1.0)
                covered = self._covered(x[rows], side, scores.argmax(dim=1))
                found[rows] = values[rows].where(covered, x[rows])
        return found
