"""Lines that enclose a smooth or piecewise linear function of one number: the base of all such operators.

A function states its pieces of constant curvature, its derivative, and the error of an evaluation. This gives its image
of a box, and for every slope s an offset for a line below it: ``f(x) - s x`` is least, piece by piece,

* at one of the ends, if the piece is concave or straight;
* where ``f' = s``, if the piece is convex. For any t in the piece, ``f(x) >= f(t) + f'(t) (x - t)``, and this tangent
  less ``s x`` is least at an end of the piece. So every t gives a valid offset, tight if ``f'(t)`` is s.

Lines above are lines below ``-f``. A search for t or for a good slope may therefore end anywhere: only values of f and
f', sums and products are trusted, and every rounding in them is paid for. It is assumed that elementary functions of
the library are off by at most 4 units in the last place (SLEEF, MKL and libm state 1 or less), and that results below
the smallest normal number may be flushed to zero.

A breakpoint b that is no float, or not one of the working dtype, is taken where it is rounded to, some ``u |b|`` away.
Between the two the curvature has the wrong sign, but it vanishes at b: it is at most ``K u |b|`` with K = max |f'''|
near b, and what a line loses there is at most ``K (u |b|)^3``, far less than the rounding already paid for in f(b).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.rounding import down, smallest, unit, up
from certify.bounds.rules.base import Nonlinear
from certify.bounds.rules.lines import Knots, Line, best_line, chosen_line, derivatives, floor, tabulated
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Curve"]

STEPS = 32
"""Intervals between shares for which the lines of a box are known while a search goes on."""

SLIVER = 0.75
"""A breakpoint is no good place to split if its distance from the middle is more than this share of half the box."""


class Curve(Nonlinear):
    """A continuous function of one number, applied to each entry.

    A subclass defines :meth:`forward`, :meth:`derivative` and ``curvature``; where they differ from the defaults also
    the attributes and methods below.

    Attributes:
        curvature: for each piece, 1 convex, -1 concave, 0 straight.
        breakpoints: where one piece ends and the next begins.
        smooth: whether the derivative is continuous at the breakpoints.
        stationary: where the function has extrema.
        codomain: an interval that contains all its values.
        moving: beyond this distance from 0, the derivative is constant up to rounding.
        executions: a float32 execution is off by at most this many unit roundoffs times :meth:`scale`.
    """

    shares: ClassVar[int] = 2
    smooth: bool = True
    stationary: tuple[float, ...] = ()
    moving: float = 64.0
    executions: float = 16.0

    @property
    @abstractmethod
    def curvature(self) -> tuple[int, ...]:
        """The sign of the second derivative on each piece."""

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Between the pieces."""
        return ()

    @property
    def codomain(self) -> tuple[float, float]:
        """Everything."""
        return (-torch.inf, torch.inf)

    @abstractmethod
    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """f' at points of one piece; at its ends, the limit from inside."""

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """Where f' is ``slope`` in a curved piece; any number if it is so nowhere. Only tightness depends on it.

        By default from a table, for functions without parameters; others override this with a closed form.
        """
        return tabulated(self, slope, piece)

    def tangent(self, x: Tensor) -> Tensor:
        """f' at any points; at a breakpoint from the left."""
        slope = self.derivative(x, 0)
        if not self.smooth:
            for piece, breakpoint in enumerate(self.breakpoints, start=1):
                slope = torch.where(x > breakpoint, self.derivative(x, piece), slope)
        return slope

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """How far ``y``, computed as f(x), may be off, apart from underflow."""
        return 8 * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """How far ``slope``, computed as f'(x), may be off, apart from underflow."""
        return 32 * unit(x.dtype) * slope.abs()

    def defined(self, box: Interval) -> Tensor:
        """Mask of the boxes on which the function is defined and lines are tried; ends may still be poles."""
        return box.lower.isfinite() & box.upper.isfinite()

    def knots(self, box: Interval) -> tuple[Tensor, ...]:
        """The ends of a box with the breakpoints in between; a breakpoint outside is moved to the nearer end."""
        middle = (box.lower.clamp(min=b).minimum(box.upper) for b in self.breakpoints)
        return box.lower, *middle, box.upper

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The least and the largest value at the ends and at the extrema inside."""
        [box] = boxes
        inside = (box.lower.clamp(min=x).minimum(box.upper) for x in self.stationary)
        below, above = zip(*(self._around(x, outward) for x in (box.lower, box.upper, *inside)), strict=True)
        known = Interval.known(torch.stack(below).amin(0), torch.stack(above).amax(0))
        least, largest = (torch.tensor(end, dtype=known.lower.dtype) for end in self.codomain)
        least = down(least) if float(least) > self.codomain[0] else least
        largest = up(largest) if float(largest) < self.codomain[1] else largest
        lower, upper = known.lower.maximum(least), known.upper.minimum(largest)
        nothing = lower > upper  # torch computes the inverse root of -0 as minus infinity
        return Interval(torch.where(nothing, least, lower), torch.where(nothing, largest, upper))

    def _around(self, x: Tensor, outward: bool) -> tuple[Tensor, Tensor]:
        y = self.forward(x)
        if bool(x.isinf().any()):  # x g(x) with g(-inf) = 0, say: the limit is the value at the last float
            last = torch.finfo(x.dtype).max
            y = torch.where(x.isinf() & y.isnan(), self.forward(x.clamp(-last, last)), y)
        if not outward:
            return y, y
        off = self.rounding(x, y) + 2 * unit(x.dtype) * y.abs() + floor(x.abs())
        # A value that overflows is large, but finite.
        most = torch.finfo(x.dtype).max / 2
        return torch.where(y == torch.inf, most, y - off), torch.where(y == -torch.inf, -most, y + off)

    def scale(self, box: Interval) -> Tensor:
        """What errors of executions are proportional to: the function's size, unless terms cancel."""
        return self.interval(box, outward=False).magnitude()

    def executed(self, *boxes: Interval) -> Tensor | None:
        """A few roundings of the result; infinite where it may overflow.

        Measured against float64 on inputs of all magnitudes up to 1e4, torch and onnxruntime err by at most half of it.
        """
        [box] = boxes
        size, largest = self.scale(box), torch.finfo(torch.float32)
        off = self.executions * (unit(torch.float32) * size + smallest(torch.float32))
        return torch.where(size < largest.max, off, torch.inf)

    def bent(self, *boxes: Interval) -> Tensor:
        """Where a curved piece or a breakpoint is inside."""
        return self.bends(self.knots(boxes[0]))

    def cut(self, box: Interval) -> Tensor:
        """At a kink in the box; else at the breakpoint nearest to the middle, or there if a part would be too small."""
        middle = super().cut(box)
        room = (box.upper / 2 - box.lower / 2) * (SLIVER if self.smooth else 1.0)
        nearest, away = middle, room
        for breakpoint in self.breakpoints:
            distance = (middle - breakpoint).abs()
            nearest = torch.where(distance < away, breakpoint, nearest)
            away = torch.minimum(distance, away)
        return nearest

    def bends(self, knots: tuple[Tensor, ...]) -> Tensor:
        """The same as :meth:`bent`, from the knots."""
        lower, upper = knots[0], knots[-1]
        bent = torch.zeros_like(lower, dtype=torch.bool)
        for a, b, curvature in zip(knots, knots[1:], self.curvature, strict=False):
            bent |= (a < b) if curvature else (lower < b) & (b < upper)
        return bent

    def _on(self, box: Interval) -> tuple[Tensor, Knots]:
        """Where the function is defined, and its knots; elsewhere the knots of the point 1, which are finite."""
        known = self.defined(box)
        finite = Interval(torch.where(known, box.lower, 1.0), torch.where(known, box.upper, 1.0))
        return known, Knots.of(self, self.knots(finite))

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Lines with slopes between the derivatives in the box; constants where no other line is known to hold.

        Args:
            boxes: the one box.
            shares: for the lower and the upper line, the position of its slope between the least (0) and the largest
                (1) derivative in the box. If the chord is a valid line, it is used instead: no line is better. None for
                the lines that are best in the middle of the box.
        """
        [box] = boxes
        image = self.interval(box, outward=True)
        known, knots = self._on(box)

        def stated(line: Line, side: int, constant: Tensor) -> tuple[Tensor, Tensor]:
            holds = known & line.slope.isfinite() & line.offset.isfinite()
            return torch.where(holds, line.slope, 0.0), torch.where(holds, side * line.offset, constant)

        if shares is None:
            lines = [best_line(self, knots, side) for side in (1, -1)]
        else:
            lines = [chosen_line(self, knots, share, side) for share, side in zip(shares, (1, -1), strict=True)]
        below, above = stated(lines[0], 1, image.lower), stated(lines[1], -1, image.upper)
        return Relaxation((below[0],), below[1], (above[0],), above[1])

    def sketch(self, *boxes: Interval) -> Callable[[Tensor], Relaxation]:
        """Means of the lines at the two nearest of :data:`STEPS` + 1 shares, which hold as those do.

        For many rows they cost a tenth of lines of their own, which few rows get.
        """
        [box] = boxes
        tables: list[_Table] = []

        def planes(shares: Tensor) -> Relaxation:
            few = shares[0].numel() <= 2 * STEPS * box.lower.numel()
            if not (few or tables):
                tables.extend(self._tables(box, shares))
            if few or not all(table.finite for table in tables):
                return self.relax(box, shares=shares)
            (below, low), (above, high) = (table(share) for table, share in zip(tables, shares, strict=True))
            return Relaxation((below,), low, (above,), high)

        return planes

    @torch.no_grad()
    def _tables(self, box: Interval, like: Tensor) -> Iterator[_Table]:
        grid = torch.linspace(0, 1, STEPS + 1).to(like).reshape(-1, *(1,) * box.lower.dim())
        grid = grid.expand(-1, *box.lower.shape)
        for slopes, offset in self.relax(box, shares=torch.stack([grid, grid])).sides:
            assert offset is not None
            yield _Table(slopes[0], offset)

    def start(self, *boxes: Interval) -> Tensor:
        """The positions of the default slopes between the least and largest derivatives in the box."""
        _, knots = self._on(boxes[0])
        least, largest = derivatives(self, knots)
        slopes = torch.stack([best_line(self, knots, side).slope for side in (1, -1)])
        return ((slopes - least) / (largest - least)).nan_to_num(0.5, 0.5, 0.5).clamp(0, 1)


class _Table:
    """Lines on one side of a curve at regular shares, (shares, B, ...), and the means of two in between."""

    def __init__(self, slopes: Tensor, offsets: Tensor) -> None:
        self._slopes, self._offsets = slopes, offsets
        grid = torch.linspace(0, 1, len(slopes)).to(slopes).reshape(-1, *(1,) * (slopes.dim() - 1))
        self.finite = bool(offsets.isfinite().all())
        self._regular = bool(torch.allclose(slopes, torch.lerp(slopes[0], slopes[-1], grid)))

    def __call__(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and offsets at shares (b, r, ...)."""
        steps = len(self._slopes) - 1
        place = (share.detach() * steps).floor().nan_to_num(0.0).clamp(0, steps - 1)
        part, at = share * steps - place, place.long().unsqueeze(0)
        if self._regular:
            return torch.lerp(self._slopes[0], self._slopes[-1], share), _between(self._offsets, at, part)
        return _between(self._slopes, at, part), _between(self._offsets, at, part)


def _between(table: Tensor, at: Tensor, part: Tensor) -> Tensor:
    """Means of two neighbours in a table (n, ...), the first of them at places ``at`` (1, ...)."""
    table = table.expand(-1, *at.shape[1:])
    return torch.lerp(table.gather(0, at)[0], table.gather(0, at + 1)[0], part)
