"""The l1 or l2 ball around an input, as what restricts a region: minima over it, and over its part of a box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.linear import Coefficients, fit, held, over_box, sizes, weigh
from certify.bounds.rounding import gamma, smallest, up
from certify.bounds.tensors import Interval, flat
from certify.core.norms import DUAL, ORDER, Norm

__all__ = ["Ball", "Rows", "split"]

Rows = Callable[[int], Iterator[Tensor]]
"""Makes the rows (count, ...) of a matrix, some at a time, as many as may be held for so many samples."""

REFINEMENTS = 4
"""Updates of the l2 multiplier; each drops the entries that the last one drove to the edge of the box."""

FAR = 1000.0
"""A ball with this many times the radius of a box does not restrict it."""


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The points within ``radius`` (B,) of ``center`` (B, ...) in the l1 or l2 norm.

    With a ``scale`` (1, ...) of numbers >= 0 the ball is ``||(x - center) / scale|| <= radius``, and entries of scale 0
    are fixed. The dual norm of a row A is then that of ``scale A``.
    """

    center: Tensor
    radius: Tensor
    norm: Norm
    scale: Tensor | None = None

    def rows(self, samples: Tensor | slice) -> Ball:
        """The balls of some samples."""
        return Ball(self.center[samples], self.radius[samples], self.norm, self.scale)

    def to(self, dtype: torch.dtype) -> Ball:
        """The balls in another dtype, rounded to nearest."""
        scale = None if self.scale is None else self.scale.to(dtype)
        return Ball(self.center.to(dtype), self.radius.to(dtype), self.norm, scale)

    def least(self, A: Coefficients, box: Interval, cut: bool, terms: int | None) -> tuple[Tensor, Tensor]:
        """The minimum (b, r) of rows over the balls and boxes; over the balls alone where no box cuts them."""
        if not cut:
            return _over_all(A, self, terms)
        inner, outer = split(A, self, box)
        # Two roundings more: the difference that makes the outer part, and the sum below.
        terms = None if terms is None else terms + 2
        inner_value, inner_error = _over_all(inner, self, terms)
        outer_value, _, outer_error = over_box(outer, box, terms)
        if terms is not None:
            # Pays for underflow in the difference.
            outer_error = outer_error + smallest(outer_value.dtype) * box.magnitude().flatten(1).sum(1, keepdim=True)
        return inner_value + outer_value, inner_error + outer_error

    def spread(self, rows: Rows, box: Interval, terms: int | None) -> tuple[Tensor, Tensor]:
        """How far rows fall below and rise above their value at the centre, (B, count) each, rounded up.

        Both are ``radius ||scale row||_dual``; the norms are computed once, as the rows are the same for every sample.
        """
        norms = torch.cat(
            [
                torch.linalg.vector_norm(
                    (A if self.scale is None else A * self.scale).flatten(1), ord=ORDER[DUAL[self.norm]], dim=1
                )
                for A in rows(1)
            ]
        )
        if terms is not None:
            entries, dtype = self.center[0].numel(), norms.dtype
            norms = norms * (1 + gamma(terms + entries + 16, dtype)) + (entries * smallest(dtype)) ** 0.5
        reach = self.radius.unsqueeze(1) * norms
        return reach, reach

    def part(self, box: Interval) -> tuple[Ball, Tensor]:
        """Balls for sub-boxes (b, ...), and which sub-boxes (b,) are proven to miss their ball.

        A sub-box that contains the ball's centre keeps the ball, for bounds over the intersection of ball and box need
        the centre in the box. Other sub-boxes are empty if they miss the ball, and else are bounded as boxes: their
        ball is replaced by a far larger one around the box. As boxes shrink, this loses nothing.

        >>> ball = Ball(torch.zeros(3, 2), torch.ones(3), "l2")
        >>> lower, upper = torch.tensor([[-1.0, -1.0], [0.5, 0.5], [0.8, 0.8]]), torch.ones(3, 2)
        >>> ball.part(Interval(lower, upper))[1]
        tensor([False, False,  True])
        """
        holds = flat((box.lower <= self.center) & (self.center <= box.upper), 1).all(1)
        middle, half = box.lower / 2 + box.upper / 2, up((box.upper - box.lower) / 2)
        # The smallest float pays for underflow in the length: the ball must not be too small for the box.
        reach = FAR * (_length(half, self) + smallest(half.dtype))
        along = holds.reshape(-1, *(1,) * (middle.dim() - 1))
        around = Ball(
            torch.where(along, self.center, middle), torch.where(holds, self.radius, reach), self.norm, self.scale
        )
        return around, ~holds & _misses(box, self)


def _over_all(A: Coefficients, ball: Ball, terms: int | None) -> tuple[Tensor, Tensor]:
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


def split(A: Coefficients, ball: Ball, box: Interval) -> tuple[Coefficients, Coefficients]:
    """Rows (b, r, ...) over a ball cut by a box, as a part to bound over the ball and a part to bound over the box.

    For any split ``A = A1 + A2``, ``A x`` is at least the minimum of ``A1 x`` over the ball plus that of ``A2 x`` over
    the box, and the best split attains the minimum over their intersection (the support function of an intersection,
    Rockafellar 1970, Corollary 16.4.1). Where the box is what stops an entry, A1 gets only as much of it as the others
    gain per unit of the ball.

    Any split is sound, so nothing here is rounded with care: A2 is ``A - A1``, one rounding. For l1 the split is the
    best (a fractional knapsack, found by sorting), for l2 nearly: the multiplier of the dual is approached from above,
    and every multiplier on the way is at least as good as the ball alone.
    """
    A = A if isinstance(A, Tensor) else A.masked()
    entries = held(A)
    below, above = (fit(A, side) for side in (ball.center - box.lower, box.upper - ball.center))
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


def _misses(box: Interval, ball: Ball) -> Tensor:
    """Whether every point of a box is farther from the centre than the radius, despite all roundings.

    A length that overflows proves nothing: the radius may be as large.
    """
    gap = torch.maximum(box.lower - ball.center, ball.center - box.upper).clamp(min=0)
    room = 1 - (gap[0].numel() + 16) * torch.finfo(gap.dtype).eps
    length = _length(gap, ball)
    return length.isfinite() & (length * room > ball.radius)


def _length(difference: Tensor, ball: Ball) -> Tensor:
    """The norm (b,) of differences (b, ...) divided by the ball's scale; features of scale 0 cannot differ."""
    if ball.scale is not None:
        difference = torch.where(ball.scale > 0, difference / ball.scale, 0.0)
    entries = flat(difference, 1)
    largest = entries.abs().amax(1)
    # Divided by the largest entry, so that no square overflows or underflows.
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    return unit * torch.linalg.vector_norm(entries / unit.unsqueeze(1), ord=ORDER[ball.norm], dim=1)
