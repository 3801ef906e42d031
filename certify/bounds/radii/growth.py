"""A model of how margins shrink as a ball grows; its root predicts the largest provable radius."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Growth"]

FIRST_GUESS = 0.33
"""The first radius tried, relative to that at which a linear network with these gradients would lose its margin."""

USUAL_POWER = 3.3
"""The power with which the excess grows, until two radii are known from which it can be measured."""

FLATTEST, STEEPEST = 0.3, 8.0
"""Measured powers are clipped to this range when they are extrapolated."""

LONGEST_STEP = 1.5
"""The logarithm of a radius tried differs by at most this from that of the nearest radius tried before."""

LEAST_EXCESS = 1e-4
"""Smaller excesses are mostly rounding errors."""

NO_LOSS, LARGEST_LOSS = 1e-30, 1e30
"""Losses per radius are clipped to this range, which also replaces infinity and NaN."""

NEWTON_STEPS = 12
"""Newton steps per root; the model is smooth and the steps are kept inside the bracket, so few suffice."""


class Growth:
    """Models what each margin loses within radius r as ``slope r (1 + e(r))``: e is the excess over a linear network.

    On a log-log scale the excess is a line or a parabola through the tried radii nearest to the root. If less than
    ``slope r`` was lost at some radius, as happens near the ends of an input box, the slope is lowered to fit. Each row
    has its own model, because the smallest of several smooth margins has kinks. The model only predicts: it proves
    nothing.

    Args:
        at_zero: margins at the inputs themselves, (B, rows).
        slope: what each loses per unit of radius in the limit of small radii, (B, rows).

    >>> growth = Growth(torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64))
    >>> ends = torch.full((1,), -torch.inf), torch.full((1,), torch.inf)
    >>> round(float(growth.root(*ends).exp()), 6)
    0.165
    """

    def __init__(self, at_zero: Tensor, slope: Tensor) -> None:
        self.at_zero = at_zero
        self.slope = slope.nan_to_num(NO_LOSS, NO_LOSS, NO_LOSS).clamp(NO_LOSS, LARGEST_LOSS)
        self.radii = at_zero.new_empty(len(at_zero), 0)
        self.rates = at_zero.new_empty(len(at_zero), 0, at_zero.shape[1])

    def add(self, which: Tensor, radius: Tensor, margins: Tensor) -> None:
        """Learn the margins (n, rows) of inputs ``which`` (n,) within ``radius`` (n,)."""
        radii = self.radii.new_full((len(self.radii), 1), torch.nan)
        radii[which, 0] = radius.log()
        lost = (self.at_zero[which] - margins) / radius.unsqueeze(1)
        rates = torch.full_like(self.at_zero, torch.nan)
        rates[which] = lost.nan_to_num(LARGEST_LOSS, LARGEST_LOSS, NO_LOSS).clamp(NO_LOSS, LARGEST_LOSS)
        self.radii = torch.cat([self.radii, radii], dim=1)
        self.rates = torch.cat([self.rates, rates.unsqueeze(1)], dim=1)
        self.slope = torch.fmin(self.slope, rates)

    def root(self, low: Tensor, high: Tensor) -> Tensor:
        """The logarithm of the radius at which the first row vanishes, between logarithms ``low`` and ``high`` (B,)."""
        if self.radii.shape[1] == 0:
            return torch.clamp(self._linear().amin(dim=1) + self.radii.new_tensor(FIRST_GUESS).log(), low, high)
        ends = (
            torch.where(low.isfinite(), low, high - LONGEST_STEP),
            torch.where(high.isfinite(), high, low + LONGEST_STEP),
        )
        nothing = torch.full_like(self.radii, torch.inf)
        under = torch.where(self.radii <= low.unsqueeze(1), low.unsqueeze(1) - self.radii, nothing)
        over = torch.where(self.radii >= high.unsqueeze(1), self.radii - high.unsqueeze(1), nothing)
        between = under.isfinite().any(dim=1) & over.isfinite().any(dim=1)
        # On one side of the root only: the nearest two.
        side = torch.minimum(under, over)
        first = torch.where(between, under.argmin(dim=1), side.argmin(dim=1))
        second = torch.where(between, over.argmin(dim=1), _without(side, first).argmin(dim=1))
        known = _without(side, first).isfinite().any(dim=1) | between
        a, wa = self._point(first)
        b, wb = self._point(second)
        power = (wb - wa) / (b - a).unsqueeze(1)
        beyond = torch.where(known.unsqueeze(1), power.clamp(FLATTEST, STEEPEST), USUAL_POWER)
        power = torch.where(between.unsqueeze(1), power, beyond)
        root = self._solve((a, wa), power, b, torch.zeros_like(power), *ends)
        rest = _without(_without((self.radii - root.unsqueeze(1)).abs().nan_to_num(torch.inf), first), second)
        c, wc = self._point(rest.argmin(dim=1))
        bend = ((wc - wb) / (c - b).unsqueeze(1) - power) / (c - a).unsqueeze(1)
        curved = between & rest.isfinite().any(dim=1)
        bend = torch.where(curved.unsqueeze(1), bend, 0.0)
        better = self._solve((a, wa), power, b, bend, *ends)
        inside = curved & (better > low) & (better < high)
        return torch.where(inside, better, root)

    def _point(self, index: Tensor) -> tuple[Tensor, Tensor]:
        column = index.unsqueeze(1)
        rates = self.rates.gather(1, column.unsqueeze(2).expand(-1, 1, self.rates.shape[2])).squeeze(1)
        ratio = (rates.log() - self.slope.log()).nan_to_num(0.0)
        return self.radii.gather(1, column).squeeze(1), torch.where(
            ratio > 30, ratio, ratio.expm1().clamp(LEAST_EXCESS).log()
        )

    def _linear(self) -> Tensor:
        """The logarithm of the radius at which a linear network would lose each margin."""
        return self.at_zero.clamp(min=NO_LOSS).log() - self.slope.log()

    def _solve(
        self, a: tuple[Tensor, Tensor], power: Tensor, b: Tensor, bend: Tensor, low: Tensor, high: Tensor
    ) -> Tensor:
        """The least root of ``t + log(1 + e(t)) = linear`` over the rows, where log e is Newton's polynomial in t."""
        ta, tb, low, high = (t.unsqueeze(1) for t in (a[0], b, low, high))
        t, linear = ((low + high) / 2).expand_as(power), self._linear()
        for _ in range(NEWTON_STEPS):
            log_excess = a[1] + (t - ta) * power + _zero(t - ta) * _zero(t - tb) * bend
            rate = power + (_zero(t - ta) + _zero(t - tb)) * bend
            step = (t - linear + F.softplus(log_excess)) / (1 + torch.sigmoid(log_excess) * rate).clamp(min=0.3)
            t = torch.clamp(t - step, low, high)
        return t.amin(dim=1)


def _zero(t: Tensor) -> Tensor:
    """Points that do not exist (infinite distance or NaN) contribute 0."""
    return t.nan_to_num(0.0)


def _without(distances: Tensor, index: Tensor) -> Tensor:
    return distances.scatter(1, index.unsqueeze(1), torch.inf)
