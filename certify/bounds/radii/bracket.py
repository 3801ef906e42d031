"""Root finding for many inputs at once: the largest radius up to which all margins are positive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.radii.growth import LONGEST_STEP, Growth

__all__ = ["Bracket", "Margins", "bracket", "on_grid"]

Margins = Callable[[Tensor, Tensor, bool], Tensor]
"""(which inputs (n,), their radii (n,), whether to prove) to lower bounds of their margins, (n, rows)."""

MOST_ROUNDS = 60
"""The search ends after so many rounds in any case."""

SMALLEST = 1e-6
"""The search gives up below this fraction of the cap."""

ASIDE = 0.4
"""Steps go this fraction of the requested width to either side of the predicted root: two of them close a bracket."""

PROVE_WITHIN = 10
"""A step that should pass is proven at once if the bracket above it is at most this many requested widths wide."""

BEYOND = 0.03
"""While the root lies on one side of all radii tried, steps go this fraction further than the prediction."""

NOISE = 2e-3
"""Relative error of the float32 search: declared radii that should fail by no more than this are tried anyway."""

MANTISSA_BITS = 13
"""Tried radii have mantissas of this many bits, so that they are the same number in float32 and float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Bracket:
    """The largest radius proven for each input, and the smallest tried radius above it that failed.

    Args:
        proven: (B,), 0 where no positive radius was proven.
        failed: (B,), infinite where none failed.
        searched, claimed: the number of evaluations for each input without and with proof, (B,).
    """

    proven: Tensor
    failed: Tensor
    searched: Tensor
    claimed: Tensor


def on_grid(radius: Tensor) -> Tensor:
    """The nearest number with a short mantissa.

    The margins of one input differ in their last bits depending on the other inputs in the batch, and so do predicted
    roots. Rounded to this grid, the tried radii and so the result are the same, unless a prediction lies on the edge of
    a cell.

    >>> float(on_grid(torch.tensor(0.1)))
    0.100006103515625
    """
    mantissa, exponent = torch.frexp(radius)
    return torch.ldexp(torch.round(mantissa * 2**MANTISSA_BITS) / 2**MANTISSA_BITS, exponent)


def bracket(
    margins: Margins,
    *,
    at_zero: Tensor,
    slope: Tensor,
    declared: Sequence[float],
    cap: float,
    tolerance: float,
    proven: Tensor | None = None,
    failed: Tensor | None = None,
) -> Bracket:
    """Close the bracket around the radius at which the first margin vanishes, to a relative ``tolerance``.

    A model of each row's margin (:class:`~certify.bounds.radii.growth.Growth`) predicts the root. One step goes just
    above the prediction, where it should fail, without proof; another just below it, where it is proven at once. If two
    steps do not halve the bracket, the next goes to its middle. As balls are nested, the largest proven radius stands
    even if computed margins are not monotone.

    Args:
        margins: lower bounds of the margins as a function of the radius.
        at_zero: the margins at radius 0, (B, rows); inputs where one is not positive are left alone.
        slope: what they lose per unit of radius at small radii, (B, rows); only a hint.
        declared: radii that are decided at exactly these values; no smaller ones are tried.
        cap: the largest radius that is tried.
        tolerance: the relative width at which a bracket counts as closed.
        proven, failed: radii already proven and already failed, (B,); 0 and infinity if not given.

    >>> line = lambda which, r, prove: (1.0 - 4.0 * r).unsqueeze(1)
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> result = bracket(line, at_zero=one, slope=4 * one, declared=(0.1,), cap=2.0, tolerance=1e-3)
    >>> 0.2497 < float(result.proven) < 0.25, int(result.searched + result.claimed)
    (True, 5)
    """
    search = _Search.of(at_zero, slope, declared, cap, tolerance)
    if proven is not None:
        search.low, search.proven = proven.clone(), proven.clone()
    if failed is not None:
        search.high, search.refuted = failed.clone(), failed.clone()
    for _ in range(MOST_ROUNDS):
        radius, prove, active = search.next()
        if not bool(active.any()):
            break
        for proving in (False, True):
            [which] = (active & (prove == proving)).nonzero(as_tuple=True)
            if len(which) > 0:
                search.learn(which, radius[which], proving, margins(which, radius[which], proving).to(at_zero))
    return Bracket(search.proven, search.high, search.searched, search.claimed)


@dataclass(slots=True, eq=False)
class _Search:
    """The state: ``low`` is the largest radius that passed, ``proven <= low`` the largest one proven, ``high`` the
    smallest that failed, ``refuted`` the smallest at which a proof failed."""

    growth: Growth
    active: Tensor
    declared: Tensor
    least: float
    cap: float
    tolerance: float
    low: Tensor
    proven: Tensor
    high: Tensor
    refuted: Tensor
    searched: Tensor
    claimed: Tensor
    widths: tuple[Tensor, Tensor]
    """The logarithmic widths of the bracket before the last two steps."""

    @classmethod
    def of(cls, at_zero: Tensor, slope: Tensor, declared: Sequence[float], cap: float, tolerance: float) -> _Search:
        zero = at_zero.new_zeros(len(at_zero))
        infinite, count = zero + torch.inf, torch.zeros_like(zero, dtype=torch.long)
        return cls(
            Growth(at_zero, slope),
            at_zero.amin(dim=1) > 0,
            at_zero.new_tensor(declared),
            max(min(declared), SMALLEST * cap),
            cap,
            tolerance,
            low=zero,
            proven=zero.clone(),
            high=infinite,
            refuted=infinite.clone(),
            searched=count,
            claimed=count.clone(),
            widths=(infinite, infinite),
        )

    def learn(self, which: Tensor, radius: Tensor, proving: bool, margins: Tensor) -> None:
        """Update the state with the margins of some inputs at one radius each."""
        passed = margins.amin(dim=1) > 0  # NaN proves nothing
        up, down = which[passed], which[~passed]
        self.low[up] = torch.maximum(self.low[up], radius[passed])
        self.high[down] = torch.minimum(self.high[down], radius[~passed])
        if proving:
            self.proven[up] = torch.maximum(self.proven[up], radius[passed])
            self.refuted[down] = torch.minimum(self.refuted[down], radius[~passed])
        # Where search and proof disagree, the proof decides.
        self.low[down] = torch.where(self.low[down] >= self.high[down], self.proven[down], self.low[down])
        self.high[up] = torch.maximum(self.high[up], self.low[up])
        (self.claimed if proving else self.searched)[which] += 1
        new = (self.growth.radii[which] != radius.log().unsqueeze(1)).all(dim=1)
        self.growth.add(which[new], radius[new], margins[new])

    def next(self) -> tuple[Tensor, Tensor, Tensor]:
        """The radii to try next, whether to prove each, and which inputs are not finished."""
        low, high = self.low.log(), self.high.log()
        root = self.growth.root(low, high)
        step, prove = self._step(low, high, root)
        radius = on_grid(step.exp()).clamp(min=self.least, max=self.cap)
        passed = self.high <= self.low * (1 + self.tolerance)
        last = (self.low > self.proven) & (passed | (self.low >= self.cap))
        radius, prove = torch.where(last, self.low, radius), prove | last
        closed = (self.high <= self.proven * (1 + self.tolerance)) | (self.proven >= self.cap)
        closed |= self.high <= self.least
        asked = self._declared(root)
        exact = closed & asked.isfinite()
        return torch.where(exact, asked, radius), prove | exact, self.active & (~closed | exact)

    def _declared(self, root: Tensor) -> Tensor:
        """The smallest declared radius that a closed bracket leaves undecided, or infinity."""
        likely = (self.declared < self.high.unsqueeze(1)) | (self.declared <= root.exp().unsqueeze(1) * (1 + NOISE))
        open_ = (self.declared > self.proven.unsqueeze(1)) & (self.declared < self.refuted.unsqueeze(1))
        return torch.where(open_ & likely, self.declared, torch.inf).amin(dim=1)

    def _step(self, low: Tensor, high: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the next radius, given those of the bracket's ends and the root; and whether to prove it."""
        width, wanted = high - low, math.log1p(self.tolerance)
        aside, both = ASIDE * wanted, (high - low).isfinite()
        above = low + ((root - low) * (1 + BEYOND)).clamp(wanted, LONGEST_STEP)
        below = high - ((high - root) * (1 + BEYOND)).clamp(wanted, LONGEST_STEP)
        # Move the end that is further from the root.
        step = torch.where(high - root > root - low, root + aside, root - aside)
        step = torch.maximum(torch.minimum(step, high - aside), low + aside)
        slow = both & (width > self.widths[0] / 2) & (width > 4 * wanted)
        step = torch.where(slow, (low + high) / 2, step)
        # If the bracket is narrow enough, place the step so that either outcome closes it.
        short = width < 2 * wanted
        step = torch.where(short, torch.maximum(torch.minimum(step, low + 0.9 * wanted), high - 0.9 * wanted), step)
        self.widths = self.widths[1], torch.where(both, width, torch.inf)
        prove = both & (step <= root) & ~slow & (high - step <= PROVE_WITHIN * wanted)
        neither = low.isinf() & high.isinf()
        step = torch.where(both, step, torch.where(neither, root, torch.where(high.isinf(), above, below)))
        return step, prove
