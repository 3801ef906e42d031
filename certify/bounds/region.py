"""Sets of inputs: a box, the intersection of a ball and a box, or what a threat reaches inside a box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.ball import Ball, Rows
from certify.bounds.linear import Coefficients, over_box, scaled, whole
from certify.bounds.rounding import above, down, gamma, smallest, up
from certify.bounds.tensors import Interval, flat
from certify.core.input_box import BoxLike, check_box
from certify.core.norms import Norm
from certify.core.threats.base import Reaching, Threat
from certify.core.threats.lp import ThreatModel

__all__ = ["Reach", "Region", "Union", "ball", "region_of"]

NUMBERS = 2**22
"""Numbers in the boxes of a union that are made at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The points that a threat reaches from ``center`` (B, ...) within ``radius`` (B,), as the threat computes them."""

    threat: Reaching
    center: Tensor
    radius: Tensor

    def rows(self, samples: Tensor | slice) -> Reach:
        """The sets of some samples."""
        return Reach(self.threat, self.center[samples], self.radius[samples])

    def to(self, dtype: torch.dtype) -> Reach:
        """The sets around centres in another dtype, rounded to nearest."""
        return Reach(self.threat, self.center.to(dtype), self.radius.to(dtype))

    def least(self, A: Coefficients, box: Interval, cut: bool, terms: int | None) -> tuple[Tensor, Tensor]:
        """The minimum of rows (b, r, ...) over the points in boxes, (b, r), and the rounding errors it may contain.

        The error covers any threat that adds up a few sums of products over features, or differences of such sums. One
        set stands for all rows, and rows of one sample for all sets: the threat is asked about as many of each.
        """
        rows = whole(A)
        count = max(len(rows), len(self.center))
        rows, x, lower, upper = (
            part.expand(count, *part.shape[1:]) for part in (flat(rows, 2), flat(self.center, 1), *self._ends(box))
        )
        value = self.threat.minimum(rows, x, self.radius.expand(count), lower, upper)
        if terms is None:
            return value, torch.zeros_like(value)
        size = torch.maximum(torch.maximum(lower.abs(), upper.abs()), x.abs())
        entries, total = rows.shape[2], (rows.abs() @ size.unsqueeze(2)).squeeze(2)
        return value, 8 * gamma(2 * entries + terms + 8, value.dtype) * total + entries * smallest(value.dtype)

    def spread(self, rows: Rows, box: Interval, terms: int | None) -> tuple[Tensor, Tensor]:
        """How far rows fall below and rise above their value at the centre, (B, count) each, rounded up."""
        center, found = flat(self.center, 1), []
        for A in rows(len(center)):
            at = center @ flat(A, 1).T
            ends = []
            for sign in (1.0, -1.0):
                least, error = self.least(sign * A.unsqueeze(0), box, True, terms)
                # Twice the error pays for the sum at the centre, too. An infinite minimum (empty set) claims nothing.
                apart = (sign * at - least + 2 * error).nan_to_num(nan=torch.inf)
                ends.append(apart.where(least.isfinite(), torch.inf))
            found.append(torch.stack(ends))
        below, above = torch.cat(found, dim=2)
        return below, above

    def part(self, box: Interval) -> tuple[Reach, Tensor]:
        """The same sets for sub-boxes (b, ...), and which sub-boxes (b,) hold none of the points."""
        return self, self.threat.misses(flat(self.center, 1), self.radius, *self._ends(box))

    def inside(self, x: Tensor, box: Interval) -> Tensor:
        """The projections of points x (b, ...) into the reached set."""
        found = self.threat.project(flat(self.center, 1), flat(x, 1), self.radius, *self._ends(box))
        return found.reshape(x.shape)

    @staticmethod
    def _ends(box: Interval) -> tuple[Tensor, Tensor]:
        return flat(box.lower, 1), flat(box.upper, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """All inputs in ``box`` that satisfy ``constraint`` where there is one: in a ball, or what a threat reaches.

    ``cut`` is False if the box encloses the whole ball, so that the ball alone can be bounded over.
    """

    box: Interval
    constraint: Ball | Reach | None = None
    cut: bool = True

    @property
    def middle(self) -> Tensor:
        """A point in each region, (B, ...): the centre of its ball, or of its box."""
        return self.box.lower / 2 + self.box.upper / 2 if self.constraint is None else self.constraint.center

    def rows(self, samples: Tensor | slice) -> Region:
        """The regions of some samples."""
        return Region(
            self.box.rows(samples), None if self.constraint is None else self.constraint.rows(samples), self.cut
        )

    def to(self, dtype: torch.dtype) -> Region:
        """The regions in another dtype, rounded to nearest: for a search, not for a claim."""
        return Region(self.box.to(dtype), None if self.constraint is None else self.constraint.to(dtype), self.cut)

    def least(self, A: Coefficients, terms: int | None) -> tuple[Tensor, Tensor]:
        """Lower bounds of ``A x``, (b, r), and the rounding errors they may contain.

        ``terms`` counts further roundings besides those of the products here; None if errors are not needed.
        """
        if self.constraint is None:
            least, _, error = over_box(A, self.box, terms)
            return least, error
        return self.constraint.least(A, self.box, self.cut, terms)

    def ends(self, A: Coefficients, terms: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Lower and upper bounds of ``A x``, (b, r), and the rounding errors that either may contain."""
        if self.constraint is None:
            return over_box(A, self.box, terms)
        least, error = self.least(A, terms)
        opposite, other = self.least(scaled(A, -torch.ones_like(least)), terms)
        return least, -opposite, torch.maximum(error, other)

    def part(self) -> tuple[Region, Tensor]:
        """For sub-boxes of a region: what bounds can be taken over, and which of them (b,) are proven to be empty."""
        if self.constraint is None:
            return self, torch.zeros(len(self.box.lower), dtype=torch.bool, device=self.box.lower.device)
        constraint, empty = self.constraint.part(self.box)
        return Region(self.box, constraint), empty


def region_of(threat: Threat, x: Tensor, radius: Tensor) -> Region:
    """Every input that a threat reaches within ``radius`` (B,) of ``x`` (B, ...), inside its input box.

    >>> from certify.core.threats.features import Features
    >>> region = region_of(Features((1,), input_box=(0.0, 1.0)), torch.zeros(1, 3), torch.ones(1))
    >>> region.least(-torch.ones(1, 1, 3), None)[0]
    tensor([[-1.]])
    """
    if isinstance(threat, ThreatModel):
        scale = threat.scale_of(x.shape[1:])
        features = None if scale is None else torch.from_numpy(scale).to(x.device)
        return ball(x, radius.to(x), threat.norm, threat.input_box, features)
    lower, upper = _ends(threat, x)
    radius, reaching = radius.to(x), threat.reaching(tuple(x.shape[1:]))
    hull = reaching.hull(flat(x, 1), radius, flat(lower, 1), flat(upper, 1))
    box = Interval(*(end.reshape(x.shape) for end in hull))
    return Region(box, None if threat.boxed else Reach(reaching, x, radius))


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """The regions whose union is what a threat reaches within a radius of one input ``x`` (1, ...).

    >>> from certify.core.threats.patch import Patch
    >>> union = Union(Patch((2,), input_box=(0.0, 1.0)), torch.zeros(1, 1, 3, 3), 2.0)
    >>> len(union), union.some(range(1, 2)).box.upper[0, 0]
    (4, tensor([[0., 1., 1.],
            [0., 1., 1.],
            [0., 0., 0.]]))
    """

    threat: Threat
    x: Tensor
    radius: float

    def __len__(self) -> int:
        return self.threat.reaching(tuple(self.x.shape[1:])).regions(self.radius)

    def some(self, which: Sequence[int]) -> Region:
        """Some of the regions, by their numbers."""
        if len(self) == 1:
            return region_of(self.threat, self.x, self.x.new_tensor([self.radius], dtype=torch.float64))
        lower, upper = (flat(end, 1) for end in _ends(self.threat, self.x))
        shape = self.x.shape[1:]
        boxes = self.threat.reaching(tuple(shape)).boxes(flat(self.x, 1), self.radius, lower, upper, which)
        return Region(Interval(*(end.reshape(-1, *shape) for end in boxes)))

    def parts(self) -> Iterator[range]:
        """The numbers of all regions, as many at a time as may be held together."""
        count, at_once = len(self), max(1, NUMBERS // self.x.numel())
        for begin in range(0, count, at_once):
            yield range(begin, min(count, begin + at_once))

    def whole(self) -> Region:
        """All regions.

        Raises:
            NoRoom: if they take more memory than there is to spare.
        """
        if (count := len(self)) > 1:
            check_room(f"{count:,} regions", 4 * count * self.x.numel() * self.x.element_size())
        return self.some(range(count))


def _ends(threat: Threat, x: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the input box around inputs (B, ...), which it holds."""
    if threat.input_box is None:
        return torch.full_like(x, -math.inf), torch.full_like(x, math.inf)
    lower, upper = threat.input_box.around(x)
    return torch.minimum(x, lower), torch.maximum(x, upper)


def ball(x: Tensor, radius: Tensor, norm: Norm, input_box: BoxLike, scale: Tensor | None = None) -> Region:
    """Every input within ``radius`` (B,) of ``x`` (B, ...) in ``norm``, inside the input box; rounded outward.

    Differences count in multiples of ``scale`` (...), the shape of one input; where it is 0, nothing moves.

    >>> region = ball(torch.zeros(1, 3), torch.tensor([0.5]), "l2", (0.0, 1.0))
    >>> float(region.box.lower.min()), float(region.box.upper.max()) >= 0.5
    (0.0, True)
    >>> box = ball(torch.zeros(1, 3), torch.tensor([0.5]), "linf", None, torch.tensor([0.0, 1.0, 4.0])).box
    >>> box.upper.round(decimals=3)
    tensor([[0.0000, 0.5000, 2.0000]])
    """
    reach = radius.reshape(-1, *(1,) * (x.dim() - 1))
    if scale is not None:
        scale = above(scale, x.dtype).unsqueeze(0)
        reach = torch.where((reach == 0) | (scale == 0), 0.0, up(reach * scale))
    lower = torch.where(reach == 0, x, down(x - reach))
    upper = torch.where(reach == 0, x, up(x + reach))
    if (box := check_box(input_box)) is not None:
        low, high = box.around(x)
        lower = torch.maximum(lower, torch.minimum(x, low))
        upper = torch.minimum(upper, torch.maximum(x, high))
    around = None if norm == "linf" else Ball(x, radius, norm, scale)
    return Region(Interval(lower, upper), around, cut=box is not None)
