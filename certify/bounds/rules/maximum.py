"""The largest or smallest of several results, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import RULES, Nonlinear
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Maximum"]


class _Extremes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        clipped = torch.minimum(x, 0.4 - 0.3 * x)
        return torch.maximum(torch.maximum(clipped, 0.5 * x), -x)


@RULES.register("maximum")
@dataclass(frozen=True, slots=True, eq=False)
class Maximum(Nonlinear):
    """``y = max_i x_i`` of two or more inputs, or the least of them.

    Args:
        sign: 1 for the largest, -1 for the smallest: ``min_i x_i = -max_i (-x_i)``.
        repeated: mask (inputs, *shape) of entries that only repeat another input, which planes may ignore; None if
            there are none.
    """

    kind: ClassVar[str] = "maximum"
    shares: ClassVar[int] = 2
    lipschitz = 1.0
    sign: int = 1
    repeated: Tensor | None = None

    @property
    def uniform(self) -> bool:
        """Inputs that repeat others do so at the borders."""
        return self.repeated is None

    def to(self, dtype: torch.dtype) -> Self:
        """Nothing to convert."""
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """The extreme."""
        return torch.stack(inputs).amax(dim=0) if self.sign > 0 else torch.stack(inputs).amin(dim=0)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Monotone, and exact in floats."""
        return Interval(self.forward(*(box.lower for box in boxes)), self.forward(*(box.upper for box in boxes)))

    def executed(self, *boxes: Interval) -> None:
        """No arithmetic, no rounding."""

    def bent(self, *boxes: Interval) -> Tensor:
        """Where no input is certainly the extreme."""
        return ~_certain(*self._ends(boxes)).any(dim=0)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Below, a weighted mean of two inputs; above, planes through one level g (stated for a maximum).

        Below, the first share is the weight of the input with the largest centre, and the next one gets the rest.
        Above, inputs whose upper ends exceed g have slopes ``s_i = (u_i - g) / (u_i - l_i)``, the others 0. The second
        share places g between the largest lower end and the second largest upper end; for two inputs, these are all
        touching planes. For any slopes in [0, 1], the plane needs the offset ``max_j (u_j - s_j (u_j - l_j)) - sum_i
        s_i l_i``: one input at its upper end, the others at their lower ends.
        """
        lower, upper = self._ends(boxes)
        lean, place = self.start(*boxes) if shares is None else shares
        certain = _certain(lower, upper)
        bent = ~certain.any(dim=0)
        below = _mean_of_two(lower, upper, certain, torch.where(bent, lean, 1.0))
        above, offset = _through_level(lower, upper, _level(lower, upper, place))
        above = torch.where(bent, above, certain.to(above.dtype))
        offset = torch.where(bent, offset, 0.0)
        if self.sign > 0:
            return Relaxation(tuple(below), None, tuple(above), offset)
        return Relaxation(tuple(above), -offset, tuple(below), None)

    def start(self, *boxes: Interval) -> Tensor:
        """One input below. Above, the plane with the least value at the centre whose slopes sum most nearly to 1.

        The value at the centre, ``g + sum_i max(0, u_i - g) / 2``, falls until g reaches the third largest upper end,
        and rises after the second. Slopes that sum to 1 suit inputs that move together.
        """
        lower, upper = self._ends(boxes)
        floor, ceiling = _level(lower, upper, 0.0), _level(lower, upper, 1.0)
        ends, order = upper.topk(min(3, len(upper)), dim=0)
        width = upper - lower
        first, second = width.gather(0, order[:1])[0], width.gather(0, order[1:2])[0]
        level = ends[1] - second * (ends[1] - (ends[0] - first)) / (first + second)
        least = floor if len(ends) < 3 else torch.maximum(floor, ends[2])
        place = (torch.maximum(level, least) - floor) / (ceiling - floor)
        return torch.stack([torch.ones_like(place), place.clamp(0, 1).nan_to_num(0.0)])

    def _ends(self, boxes: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (inputs, B, ...) of what the maximum is taken of."""
        lower, upper = torch.stack([box.lower for box in boxes]), torch.stack([box.upper for box in boxes])
        if self.sign < 0:
            lower, upper = -upper, -lower
        if self.repeated is not None:  # as a constant that never wins
            aside = self.repeated.to(lower.device).unflatten(
                0, (len(boxes), *(1,) * (lower.dim() - self.repeated.dim()))
            )
            least = lower.amin(dim=0)
            lower, upper = torch.where(aside, least, lower), torch.where(aside, least, upper)
        return lower, upper

    @staticmethod
    def example() -> Example:
        """A minimum of two below a maximum of three."""
        return Example(_Extremes(), torch.tensor([[-1.0, 0.5, -3.0]]), torch.tensor([[2.0, 1.0, -2.0]]))


def _certain(lower: Tensor, upper: Tensor) -> Tensor:
    """A mask (inputs, ...) of the one input that is the largest everywhere in the box, if there is one."""
    ends, order = upper.topk(2, dim=0)
    others = torch.where(_at(order[0], len(upper)), ends[1], ends[0])
    certain = lower >= others
    return certain & _at(certain.to(torch.uint8).argmax(dim=0), len(upper))


def _at(index: Tensor, count: int) -> Tensor:
    """A mask (count, ...) of an index (...) along the first axis."""
    return torch.arange(count, device=index.device).reshape(-1, *(1,) * index.dim()) == index


def _mean_of_two(lower: Tensor, upper: Tensor, certain: Tensor, lean: Tensor) -> Tensor:
    """Slopes (inputs, ...) that sum to exactly 1, at the two inputs with the largest centres."""
    centers = torch.where(certain, torch.inf, (lower + upper).nan_to_num(-torch.inf, torch.inf, -torch.inf))
    first, second = centers.topk(2, dim=0).indices
    # Of 1 - lean and 1 - (1 - lean) one is exact in floats, and so is their sum.
    rest = 1 - lean
    return _at(first, len(lower)) * (1 - rest) + _at(second, len(lower)) * rest


def _level(lower: Tensor, upper: Tensor, place: Tensor | float) -> Tensor:
    """Between the largest lower end (place 0) and the second largest upper end (place 1)."""
    floor, ceiling = lower.amax(dim=0), upper.topk(2, dim=0).values[1]
    return floor + place * (ceiling - floor)


def _through_level(lower: Tensor, upper: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (inputs, ...) and offset of a plane above the maximum; a constant where ends are infinite."""
    width = upper - lower
    slopes = ((upper - level) / torch.where(width > 0, width, torch.inf)).clamp(0, 1).nan_to_num(0.0)
    at_lower = slopes * lower
    offset = ((1 - slopes) * upper + at_lower).amax(dim=0) - at_lower.sum(dim=0)
    size = torch.maximum(lower.abs(), upper.abs()).amax(dim=0) + at_lower.abs().sum(dim=0)
    terms = len(lower) + 8
    offset = offset + (gamma(terms, size.dtype) * size + terms * smallest(size.dtype))
    known = offset.isfinite()
    return torch.where(known, slopes, 0.0), torch.where(known, offset, upper.amax(dim=0))
