"""Search for lines below and above a curve, and valid offsets for any slope.

Every function takes a ``side``: 1 for lines below the curve f, -1 for lines above it, which are lines below ``-f``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from certify.bounds.rounding import smallest, unit

if TYPE_CHECKING:
    from certify.bounds.rules.curve import Curve

__all__ = ["Knots", "Line", "best_line", "chosen_line", "derivatives", "floor", "tabulated"]

MOST_LINES = 10
"""The most lines that the search for the best one tries; it converges quadratically, mostly after 2 to 5."""

NEAR = 2.0**-10
"""The search ends when no point of the curve is beyond the line by more than this share of the distance between curve
and chord in the middle of the box."""


@dataclass(frozen=True, slots=True, eq=False)
class Knots:
    """Where the pieces of a curve meet on a box, in order, from its lower to its upper end, and the values there.

    A piece that the box does not reach begins and ends at the same point of the box.

    Args:
        x: one more than there are pieces.
        y: the values.
        off: the errors of the values, and of sums with them.
        floor: the largest underflow error in the box.
    """

    x: tuple[Tensor, ...]
    y: tuple[Tensor, ...]
    off: tuple[Tensor, ...]
    floor: Tensor

    @classmethod
    def of(cls, curve: Curve, x: tuple[Tensor, ...]) -> Knots:
        """The knots of a curve at places that are known."""
        y = tuple(curve.forward(point) for point in x)
        least = floor(torch.maximum(x[0].abs(), x[-1].abs()))
        return cls(x, y, tuple(_off(curve, *point) + least for point in zip(x, y, strict=True)), least)

    def rows(self, chosen: Tensor) -> Knots:
        """Those of some entries, by number, flat."""
        x, y, off = (tuple(tensor.take(chosen) for tensor in part) for part in (self.x, self.y, self.off))
        return Knots(x, y, off, self.floor.take(chosen))

    @property
    def middle(self) -> Tensor:
        """The middle of the box."""
        lower, upper = self.x[0], self.x[-1]
        return (lower / 2 + upper / 2).maximum(lower).minimum(upper)

    @property
    def chord(self) -> Tensor:
        """The slope of the line through the ends; 0 where they are one point."""
        return _chord((self.x[0], self.y[0]), (self.x[-1], self.y[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line on one side of a curve: ``side (f(x) - slope x) >= offset`` on the box.

    Args:
        slope: any.
        offset: NaN or infinite if numbers overflowed.
        point: approximately where the curve is closest to the line.
    """

    slope: Tensor
    offset: Tensor
    point: Tensor


def floor(size: Tensor) -> Tensor:
    """A bound of the underflow errors of a few products with numbers of a size."""
    return 16 * smallest(size.dtype) * (1 + size)


def _off(curve: Curve, x: Tensor, y: Tensor) -> Tensor:
    """The error of a value, and its share in the roundings of the four sums that it enters."""
    return curve.rounding(x, y) + 12 * unit(x.dtype) * y.abs()


def held(curve: Curve, knots: Knots, slope: Tensor, side: int) -> Line:
    """The line of a given slope with an offset that is valid on the box despite all roundings."""
    u = unit(slope.dtype)
    candidates: list[tuple[Tensor, Tensor]] = []
    covered: set[int] = set()
    for piece, curvature in enumerate(curve.curvature):
        if side * curvature <= 0:
            continue
        begin, end = knots.x[piece], knots.x[piece + 1]
        t = curve.critical(slope, piece, begin, end).maximum(begin).minimum(end)
        y, line, derivative = curve.forward(t), slope * t, curve.derivative(t, piece)
        off = curve.derivative_rounding(t, derivative) + 4 * u * (derivative.abs() + slope.abs())
        turn = side * (derivative - slope)
        # How far the tangent at t falls below its value there, on the way to either end. No product is trusted to the
        # last digit: 12 u of it cover the roundings here and below.
        fall = -torch.minimum((turn - off) * (end - t), (turn + off) * (begin - t)).clamp(max=0)
        lost = _off(curve, t, y) + 12 * u * (line.abs() + fall) + knots.floor
        candidates.append((t, side * (y - line) - fall - lost))
        covered |= {piece, piece + 1}  # the tangent's bound holds at both ends of its piece
    for x, y, off in (knot for n, knot in enumerate(zip(knots.x, knots.y, knots.off, strict=True)) if n not in covered):
        line = slope * x
        candidates.append((x, side * (y - line) - (off + 12 * u * line.abs())))
    point, least = candidates[0]
    for x, value in candidates[1:]:
        point = torch.where(value < least, x, point)
        least = torch.minimum(least, value)
    return Line(slope, least, point)


def derivatives(curve: Curve, knots: Knots) -> tuple[Tensor, Tensor]:
    """The least and the largest derivative in a box; where it is infinite at an end, that a little further inside."""
    least = largest = curve.tangent(knots.middle)
    for piece in range(len(curve.curvature)):
        begin, end = knots.x[piece], knots.x[piece + 1]
        reached = begin < end
        for x, other in ((begin, end), (end, begin)):
            slope = curve.derivative(x, piece)
            if not bool(slope.isfinite().all()):
                slope = torch.where(slope.isfinite(), slope, curve.derivative(x + (other - x) / 1024, piece))
            least = torch.where(reached & (slope < least), slope, least)
            largest = torch.where(reached & (slope > largest), slope, largest)
    return least, largest


def chosen_line(curve: Curve, knots: Knots, share: Tensor, side: int) -> Line:
    """The line whose slope is at a share of the way from the least to the largest derivative in the box.

    If the chord of the ends is a valid line, the chord instead: no other line is better anywhere.
    """
    signs = {side * curvature for curvature in curve.curvature}
    if curve.smooth and signs == {-1}:
        slope = knots.chord.expand_as(share)
    else:
        least, largest = derivatives(curve, knots)
        slope = least + share * (largest - least)
        if not curve.smooth or signs != {1}:
            with torch.no_grad():
                chord = held(curve, knots, knots.chord, side)
                holds = _beyond(chord, knots.x[0], knots.y[0], side) <= _tolerance(chord, knots.x[0], knots.y[0])
            slope = torch.where(holds & (knots.x[0] < knots.x[-1]), knots.chord, slope)
    with torch.no_grad():
        line = held(curve, knots, slope, side)
    return Line(slope, _moving(curve, knots, line, slope, side), line.point)


def _moving(curve: Curve, knots: Knots, line: Line, slope: Tensor, side: int) -> Tensor:
    """The offset with its derivatives: ``-x`` in the slope, ``f'(x) - slope`` in an end x where it is attained."""
    lower, upper, point = knots.x[0], knots.x[-1], line.point
    if not (slope.requires_grad or lower.requires_grad or upper.requires_grad):
        return line.offset
    end = torch.where(point == lower, lower, torch.where(point == upper, upper, point))
    steep = (curve.tangent(point) - slope).detach()
    return line.offset + side * (steep * (end - end.detach()) - point * (slope - slope.detach()))


@torch.no_grad()
def best_line(curve: Curve, knots: Knots, side: int) -> Line:
    """The line with the best value in the middle of the box: it supports the convex envelope there.

    This is the tangent, or a line through two points of the curve, left and right of the middle. The search for these
    starts with the ends of the box and repeatedly replaces one of the two by the point furthest beyond the line, on the
    same side of the middle, until no point is beyond it.
    """
    middle = knots.middle
    y = curve.forward(middle)
    line = held(curve, knots, curve.tangent(middle), side)
    height = (knots.y[0] + knots.chord * (middle - knots.x[0]) - y).abs()
    near = NEAR * height + _tolerance(line, middle, y)
    wanted = curve.bends(knots.x) & ~(_beyond(line, middle, y, side) <= near)
    shape, places = middle.shape, wanted.flatten().nonzero().squeeze(1)
    if len(places) == 0:
        return line
    slopes, offsets, points = line.slope.flatten(), line.offset.flatten(), line.point.flatten()
    knots, middle, near = knots.rows(places), middle.take(places), near.take(places)
    left, right = (knots.x[0], knots.y[0]), (knots.x[-1], knots.y[-1])
    for _ in range(MOST_LINES):
        line = held(curve, knots, _chord(left, right), side)
        known = offsets[places], slopes[places], points[places]
        worse = line.offset + side * line.slope * middle <= known[0] + side * known[1] * middle
        offsets[places], slopes[places], points[places] = (
            torch.where(worse, old, new) for old, new in zip(known, (line.offset, line.slope, line.point), strict=True)
        )
        going = (_beyond(line, left[0], left[1], side) > near).nonzero().squeeze(1)
        if len(going) == 0:
            break
        x, y = line.point, side * line.offset + line.slope * line.point
        before = x < middle
        left = torch.where(before, x, left[0])[going], torch.where(before, y, left[1])[going]
        right = torch.where(before, right[0], x)[going], torch.where(before, right[1], y)[going]
        places, middle, near, knots = places[going], middle[going], near[going], knots.rows(going)
    return Line(slopes.reshape(shape), offsets.reshape(shape), points.reshape(shape))


def _chord(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> Tensor:
    return (right[1] - left[1]) / torch.where(left[0] < right[0], right[0] - left[0], torch.inf)


def _beyond(line: Line, x: Tensor, y: Tensor, side: int) -> Tensor:
    """How far a point is above a line that holds (below it, for side -1)."""
    return side * (y - line.slope * x) - line.offset


def _tolerance(line: Line, x: Tensor, y: Tensor) -> Tensor:
    """How much of :func:`_beyond` may be rounding."""
    return 2**8 * unit(x.dtype) * (y.abs() + (line.slope * x).abs() + smallest(x.dtype))


def tabulated(curve: Curve, slope: Tensor, piece: int) -> Tensor:
    """Approximately where the derivative of a curve without parameters is ``slope``: a table, and one secant step."""
    points, slopes = _table(type(curve), piece, slope.dtype, slope.device)
    after = torch.bucketize(slope, slopes).clamp(1, len(points) - 1)
    a, b, at_a, at_b = points[after - 1], points[after], slopes[after - 1], slopes[after]
    stretch = ((b - a) / (at_b - at_a)).nan_to_num(0.0, 0.0, 0.0)
    t = a + stretch * (slope - at_a)
    t = t + stretch * (slope - curve.derivative(t, piece))
    return t.maximum(torch.minimum(a, b)).minimum(torch.maximum(a, b))


@cache
def _table(kind: type[Curve], piece: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points of a piece, denser at its ends where the derivative may be stationary, and the ascending derivatives."""
    curve = kind()
    ends = (-curve.moving, *curve.breakpoints, curve.moving)
    share = (1 - torch.linspace(0, torch.pi, 1025, dtype=torch.float64).cos()) / 2
    points = ends[piece] + (ends[piece + 1] - ends[piece]) * share
    points = points if curve.curvature[piece] > 0 else points.flip(0)
    return points.to(device, dtype), curve.derivative(points, piece).cummax(0).values.to(device, dtype)
