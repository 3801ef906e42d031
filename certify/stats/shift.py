"""What an accuracy on one distribution P promises on another one Q, from how far Q is from P.

``accuracy`` is a lower bound of P[right and robust]. Nothing is known of Q but its distance from P, so that the event
"wrong or not robust" may gain as much as this distance lets any event gain (data processing), and some Q does so: every
bound is tight for what it knows. Bounds are of the accuracy itself and not of the error: 1 - p would lose the digits of
a small p. Each is the infimum over *all* accuracies that are at least the one given, and so it grows with it.

Results are rounded down, in exact fractions or in balls: a claim may only shrink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeVar

import numpy as np
from flint import arb
from numpy.typing import NDArray

from certify.core.rounding import below, brief
from certify.core.values import finite
from certify.errors import BadInput
from certify.stats.balls import working_precision
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.simultaneous import check_delta, share

__all__ = [
    "MEASURES",
    "Measure",
    "largest_move",
    "least_mix",
    "least_mix_near",
    "share_intervals",
    "weighted_lower",
]

Group = TypeVar("Group", bound=Hashable)

BITS: Final = 256
"""Working precision of a divergence, in bits: near P, the logarithms of two accuracies cancel."""

ORDER_SEED: Final = 20_261_130
"""Of the order in which a bound of a weighted mean looks at its inputs: any is valid, this one is always the same."""

MOST_FACTOR: Final = 0.75
"""Share of its capital that a bet may lose at once (Waudby-Smith and Ramdas 2024 advise 1/2 to 3/4)."""

LOG_SLACK: Final = 1e-9
"""More than a sum of a million logarithms in floating point errs by, relative to their size."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A distance of a distribution Q from P, and what is left of an accuracy at each distance.

    Args:
        name: its name, as commands and policies write it.
        title: in words.
        symbol: with its argument, as formulas write it.
        least, most: the amounts that there are; no shift at all is ``least``.
        amounts: what a curve shows if nobody asks for others.
        formula: the bound, where ``p`` is the accuracy.
    """

    name: str
    title: str
    symbol: str
    least: float
    most: float
    amounts: tuple[float, ...]
    formula: str
    _after: Callable[[Fraction, Fraction], float]
    _largest: Callable[[Fraction, Fraction], float]

    def amount(self, value: object) -> float:
        """A number as an amount of this measure.

        Raises:
            BadInput: for what is no finite number, or no such amount.

        >>> MEASURES["total_variation"].amount(1.5)
        Traceback (most recent call last):
        ...
        certify.errors.BadInput: a shift in total variation lies between 0 and 1, got 1.5
        """
        amount = finite(f"a shift in {self.title}", value)
        if not self.least <= amount <= self.most:
            least = brief(self.least)
            allowed = f"is at least {least}" if math.isinf(self.most) else f"lies between {least} and {self.most:g}"
            raise BadInput(f"a shift in {self.title} {allowed}, got {amount!r}")
        return amount

    def after(self, accuracy: float, amount: float) -> float:
        """Lower bound of the accuracy on every Q that is at most ``amount`` away from P.

        Raises:
            BadInput: for an accuracy outside [0, 1] (NaN included), or as :meth:`amount`.

        >>> [round(MEASURES[name].after(0.8, 0.1), 4) for name in ("total_variation", "kl", "chi2")]
        [0.7, 0.6048, 0.6735]
        >>> MEASURES["density_ratio"].after(0.75, 2.0)
        0.5
        """
        amount, p = self.amount(amount), _accuracy(accuracy)
        return float(accuracy) if amount == self.least else self._after(p, Fraction(amount))

    def largest(self, accuracy: float, threshold: float) -> float | None:
        """The largest amount at which the accuracy still is at least ``threshold``, rounded down.

        Infinite, or :attr:`most`, where every amount will do; None where it is not even so on P itself.

        Raises:
            BadInput: for an accuracy outside [0, 1], or a threshold outside (0, 1].

        >>> MEASURES["density_ratio"].largest(0.75, 0.5), MEASURES["kl"].largest(0.75, 0.8)
        (2.0, None)
        """
        p, t = _accuracy(accuracy), _threshold(threshold)
        if p < t:
            return None
        return min(self.most, math.inf if p == 1 and self.name != "total_variation" else self._largest(p, t))


def _accuracy(value: float) -> Fraction:
    if not 0 <= value <= 1:
        raise BadInput(f"an accuracy lies between 0 and 1, got {value}")
    return Fraction(value)


def _threshold(value: float) -> Fraction:
    if not 0 < value <= 1:
        raise BadInput(f"a threshold lies above 0 and is at most 1 (60 % is 0.6), got {value}")
    return Fraction(value)


def _after_total_variation(p: Fraction, amount: Fraction) -> float:
    return max(0.0, below(p - amount))


def _after_density_ratio(p: Fraction, amount: Fraction) -> float:
    return max(0.0, below(1 - amount * (1 - p)))


def _after_chi2(p: Fraction, amount: Fraction) -> float:
    """The least s with (p - s)^2 <= amount p (1 - p); it is 0 from p = amount / (1 + amount) downwards."""
    if p * p <= amount * p * (1 - p):
        return 0.0
    spread = amount * p * (1 - p)
    found = float(p) - math.sqrt(spread)
    while found > 0 and (p - Fraction(found)) ** 2 < spread:
        found = math.nextafter(found, -math.inf)
    return max(0.0, found)


def _divergence(s: Fraction | float, p: Fraction) -> arb:
    """kl(s || p) of two coins, for 0 <= s <= p and 0 < p < 1."""
    one, other = (arb(value.numerator) / value.denominator for value in (Fraction(s), p))
    wrong = (1 - one) * ((1 - one) / (1 - other)).log()
    return wrong if not s else wrong + one * (one / other).log()


def _after_kl(p: Fraction, amount: Fraction) -> float:
    """The largest float that is certainly not above the least s with kl(s || p) <= amount."""
    if p in (0, 1):
        return float(p)  # what P never does, no Q of finite divergence does
    with working_precision(BITS):
        limit = arb(amount.numerator) / amount.denominator
        low, high = 0.0, below(p)
        if not _divergence(low, p) >= limit:
            return 0.0
        while low < (middle := (low + high) / 2) < high:
            if _divergence(middle, p) >= limit:
                low = middle
            else:
                high = middle
        return low


def _largest_total_variation(p: Fraction, t: Fraction) -> float:
    return below(p - t)


def _largest_density_ratio(p: Fraction, t: Fraction) -> float:
    return below((1 - t) / (1 - p))


def _largest_chi2(p: Fraction, t: Fraction) -> float:
    return below((p - t) ** 2 / (p * (1 - p)))


def _largest_kl(p: Fraction, t: Fraction) -> float:
    if p == t:
        return 0.0
    with working_precision(BITS):
        lower = _divergence(t, p).lower()
        near = float(lower)
        return max(0.0, near if arb(near) <= lower else math.nextafter(near, -math.inf))


MEASURES: Final[Mapping[str, Measure]] = {
    one.name: one
    for one in (
        Measure(
            "total_variation",
            "total variation",
            "TV(Q, P)",
            0.0,
            1.0,
            (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
            "p - TV",
            _after_total_variation,
            _largest_total_variation,
        ),
        Measure(
            "density_ratio",
            "density ratio",
            "dQ/dP",
            1.0,
            math.inf,
            (1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0),
            "1 - G (1 - p)",
            _after_density_ratio,
            _largest_density_ratio,
        ),
        Measure(
            "kl",
            "Kullback-Leibler divergence",
            "KL(Q||P)",
            0.0,
            math.inf,
            (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5),
            "least s with kl(s||p) <= KL",
            _after_kl,
            _largest_kl,
        ),
        Measure(
            "chi2",
            "chi-squared divergence",
            "chi2(Q||P)",
            0.0,
            math.inf,
            (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5),
            "p - sqrt(chi2 p (1 - p))",
            _after_chi2,
            _largest_chi2,
        ),
    )
}
"""Distances of a whole distribution; groups have shares, which is another question."""


def least_mix(lowers: Mapping[Group, float], low: Mapping[Group, Fraction], high: Mapping[Group, Fraction]) -> float:
    """The least accuracy of a mixture of groups whose shares lie in intervals and add up to one, rounded down.

    A linear programme whose optimum is greedy: each group has at least its least share, and the rest goes to the groups
    of least accuracy first.

    Args:
        lowers: lower bound of the accuracy of each group.
        low, high: ends of the interval of its share.

    Raises:
        BadInput: where no shares within the intervals add up to one.

    >>> whole = {"a": Fraction(0), "b": Fraction(1, 4)}, {"a": Fraction(1, 2), "b": Fraction(1)}
    >>> least_mix({"a": 0.5, "b": 0.75}, *whole)
    0.625
    """
    left = 1 - sum(low.values(), Fraction(0))
    if left < 0 or sum(high.values(), Fraction(0)) < 1 or any(low[group] > high[group] for group in lowers):
        raise BadInput("no shares within these intervals add up to 1")
    total = Fraction(0)
    for group in sorted(lowers, key=lowers.__getitem__):
        more = min(left, high[group] - low[group])
        left -= more
        total += (low[group] + more) * Fraction(lowers[group])
    return max(0.0, below(total))


def least_mix_near(lowers: Mapping[Group, float], shares: Mapping[Group, Fraction], amount: float) -> float:
    """The least accuracy of a mixture whose shares differ from ``shares`` by at most ``amount`` in total variation.

    A share of ``amount`` moves from the groups of greatest accuracy to the group of least. Rounded down.

    Raises:
        BadInput: for an amount outside [0, 1].

    >>> half = {"a": Fraction(1, 2), "b": Fraction(1, 2)}
    >>> [least_mix_near({"a": 0.5, "b": 1.0}, half, amount) for amount in (0.0, 0.25, 0.5, 1.0)]
    [0.75, 0.625, 0.5, 0.5]
    """
    left, least = Fraction(MEASURES["total_variation"].amount(amount)), Fraction(min(lowers.values()))
    total = Fraction(0)
    for group in sorted(lowers, key=lowers.__getitem__, reverse=True):
        moved = min(left, shares[group])
        left -= moved
        total += (shares[group] - moved) * Fraction(lowers[group]) + moved * least
    return max(0.0, below(total))


def largest_move(lowers: Mapping[Group, float], shares: Mapping[Group, Fraction], threshold: float) -> float | None:
    """The largest amount at which :func:`least_mix_near` is at least ``threshold``; None where it is not so at 0.

    >>> largest_move({"a": 0.5, "b": 1.0}, {"a": Fraction(1, 2), "b": Fraction(1, 2)}, 0.625)
    0.25
    """
    least, moved = Fraction(min(lowers.values())), Fraction(0)
    spare = sum((shares[group] * Fraction(lowers[group]) for group in lowers), Fraction(0)) - _threshold(threshold)
    if spare < 0:
        return None
    for group in sorted(lowers, key=lowers.__getitem__, reverse=True):
        cost = Fraction(lowers[group]) - least
        if cost * shares[group] > spare:
            return min(1.0, below(moved + spare / cost))
        spare -= cost * shares[group]
        moved += shares[group]
    return 1.0


def share_intervals(counts: Mapping[Group, int], delta: float) -> dict[Group, tuple[float, float]]:
    """Intervals for the shares of groups after counting independent draws, all right at once: probability >= 1 - delta.

    Clopper and Pearson on both sides of every group, each side of G groups at delta / (2 G).

    Raises:
        BadInput: for no groups, no draws, a negative count, or delta outside (0, 1).

    >>> {group: (round(a, 3), round(b, 3)) for group, (a, b) in share_intervals({"a": 30, "b": 70}, 0.05).items()}
    {'a': (0.202, 0.414), 'b': (0.586, 0.798)}
    """
    n = sum(counts.values())
    if n < 1 or min(counts.values()) < 0:
        raise BadInput("shares are estimated from at least one input, and no group has fewer than none")
    side = share(delta, 2 * len(counts))
    return {
        group: (clopper_pearson_lower(k, n, side), clopper_pearson_upper(k, n, side)) for group, k in counts.items()
    }


def weighted_lower(values: Sequence[float] | NDArray[np.float64], delta: float) -> float:
    """Lower bound of the mean of a quantity that is never negative, from independent draws: right with 1 - delta.

    For importance weights, the quantity is the weight of an input that is certified, and 0 for another: its mean is the
    certified accuracy under Q. No largest weight has to be known: a quantity that is far too large now and then makes
    the mean larger, and a lower bound only too low.

    Waudby-Smith and Ramdas 2024: whoever bets on values above m, and never more than there is, multiplies the capital
    with probability at most delta by 1 / delta where the mean is at most m. How much is bet follows from the values
    before. The bound is the largest m at which that happened, whenever it did.

    Raises:
        BadInput: for no values, one that is negative or not finite, or delta outside (0, 1).

    >>> 0.8 < weighted_lower([1.0] * 90 + [0.0] * 10, 0.05) < 0.85
    True
    """
    drawn = np.asarray(values, dtype=np.float64)
    if drawn.ndim != 1 or not len(drawn) or not np.isfinite(drawn).all() or drawn.min() < 0:
        raise BadInput("a mean is bounded from at least one value, each of them finite and not negative")
    n, goal = len(drawn), -math.log(check_delta(delta))
    x = drawn[np.random.default_rng(ORDER_SEED).permutation(n)]
    seen = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(x)) / (seen + 1)
    spread = (0.25 + np.cumsum((x - mean) ** 2)) / (seen + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    stake = np.sqrt(2 * goal / (n * np.maximum(before, 1e-12)))

    def excluded(m: float) -> bool:
        gained = np.log1p(np.minimum(stake, MOST_FACTOR / m) * (x - m))
        return bool(np.max(np.cumsum(gained) - LOG_SLACK * np.cumsum(np.abs(gained))) > goal + LOG_SLACK)

    low, high = 0.0, float(drawn.max())
    while high - low > 1e-9 * high and low < (middle := (low + high) / 2) < high:
        if excluded(middle):
            low = middle
        else:
            high = middle
    return low
