"""The largest error of a paired test over its nuisance parameter: the discordance, or how often the models differ.

A difference d = p01 - p10 leaves the discordance psi = p01 + p10 open. A limit keeps to its level only if it does so at
every psi, so the largest error over all psi is bounded here: by exact sums over outcomes at some points, and between
them by the fact that no probability changes by more than the distance between two multinomial laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.lazy import later

__all__ = ["ROUNDING", "OutcomeSet", "largest_chance"]

special = later("scipy.special")
stats = later("scipy.stats")

Reals = NDArray[np.float64]

ROUNDING: Final = 1e-9
"""Added to each probability: more than the rounding of its sum and the outcomes ten deviations out that it omits."""

INTERVALS: Final = 256
"""Largest number of intervals of psi in one round of halving."""


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeSet:
    """A set of outcomes (n01, n10) of n inputs that is closed under more n01 and under less n10.

    Args:
        most: for each n01 = 0 .. n, the largest n10 in the set; -1 for none. Ascending.
    """

    most: NDArray[np.int64]

    def chance(self, p01: Reals, p10: Reals) -> Reals:
        """Probability of the set at several points, (k,)."""
        n = len(self.most) - 1
        p01, p10 = np.maximum(p01, 0.0), np.maximum(p10, 0.0)
        middle, spread = n * p01, 10 * np.sqrt(n * p01 * (1 - p01)) + 10
        low = int(max(0.0, (middle - spread).min()))
        n01 = np.arange(low, int(min(n, (middle + spread).max())) + 1)
        of_n01 = stats.binom.pmf(n01, n, p01[:, None])
        rest = np.divide(p10, 1 - p01, out=np.ones_like(p01), where=p01 < 1)
        n10, left = self.most[n01], n - n01
        within = special.bdtr(np.minimum(n10, left).clip(min=0), left, np.minimum(rest, 1.0)[:, None])
        chances: Reals = np.where(n10 < 0, 0.0, of_n01 * within).sum(axis=1)
        return chances


def largest_chance(
    outcomes: OutcomeSet,
    difference: float,
    discordance: tuple[float, float],
    enough: float | None = None,
    intervals: int = INTERVALS,
) -> float:
    """An upper bound on the probability of the outcomes wherever p01 - p10 = ``difference``.

    The same holds for every smaller difference, as each outcome is there with all that speak more for a larger one.

    The angle asin(sqrt(P)) of an event moves by at most arccos(B) between two laws, B their Bhattacharyya coefficient,
    which for n draws is (sum of sqrt(p_i q_i))^n; along a line B falls with the distance. So the chance in the middle
    of an interval bounds that in all of it, and intervals are halved while it matters.

    Args:
        outcomes: the set.
        difference: between -1 and 1.
        discordance: the least and the largest p01 + p10.
        enough: stop as soon as the bound is at most this; if None, when it is within a fiftieth of the maximum.
        intervals: largest number of intervals in one round.

    Returns:
        The bound. One above ``enough`` may be loose.
    """
    n = len(outcomes.most) - 1
    low, high = (max(side, abs(difference)) for side in discordance)
    edges = low + (high - low) * np.linspace(0, 1, 17) ** 2  # laws change fastest where p01 or p10 begins at 0
    left, right = edges[:-1], edges[1:]
    peak = settled = 0.0
    while True:
        middle = (left + right) / 2
        found = outcomes.chance((middle + difference) / 2, (middle - difference) / 2) + ROUNDING
        angle = np.maximum(_angle(middle, left, difference, n), _angle(middle, right, difference, n))
        bound = np.sin(np.minimum(np.arcsin(np.sqrt(np.minimum(found, 1.0))) + angle, np.pi / 2)) ** 2 + ROUNDING
        peak = max(peak, float(found.max()))
        wanted = max(1.02 * peak, peak + 5e-4) if enough is None else enough
        unsettled = bound > wanted
        settled = max(settled, float(bound[~unsettled].max(initial=0.0)))
        hopeless = enough is not None and peak > enough
        if hopeless or not unsettled.any() or 2 * unsettled.sum() > intervals:
            return min(1.0, max(settled, float(bound[unsettled].max(initial=0.0))))
        left, middle, right = left[unsettled], middle[unsettled], right[unsettled]
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])


def _angle(one: Reals, other: Reals, difference: float, n: int) -> Reals:
    """arccos of the Bhattacharyya coefficient of n draws at two discordances, rounded up."""
    # 1 - sum of sqrt(p q) = sum of (sqrt(p) - sqrt(q))^2 / 2, which keeps the digits of laws that are close.
    pairs = zip(_law(one, difference), _law(other, difference), strict=True)
    apart = sum((np.sqrt(p) - np.sqrt(q)) ** 2 for p, q in pairs) / 2
    lost = -np.expm1(n * np.log1p(-np.minimum(apart, 1 - 1e-16)))  # 1 - B
    angle: Reals = 2 * np.arcsin(np.sqrt(np.minimum(lost / 2, 0.5))) * (1 + ROUNDING) + ROUNDING
    return angle


def _law(discordance: Reals, difference: float) -> tuple[Reals, Reals, Reals]:
    """p01, p10 and the rest."""
    p01, p10 = (discordance + difference) / 2, (discordance - difference) / 2
    return np.maximum(p01, 0.0), np.maximum(p10, 0.0), np.maximum(1 - discordance, 0.0)
