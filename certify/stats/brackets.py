"""Numbers of which only an interval each is known: their distribution, its quantiles, and tests between two of them.

The true radius of an input lies between a proof and an adversarial example. Whatever is said here holds for all values
within the brackets: a band is as wide as the brackets make it, and of p-values both ends are stated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import binomial_at_least, binomial_at_most, sign_test
from certify.stats.population import dkw_width
from certify.stats.simultaneous import check_delta

__all__ = ["Brackets", "Signs", "Steps", "kolmogorov_smirnov", "population_ranks", "sample_rank", "signs"]

stats = later("scipy.stats")


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """A distribution function between two others, at the places where one of them steps; constant in between.

    Args:
        at: the places, ascending, from 0 on.
        lower, upper: P[value <= place] is at least and at most this.
    """

    at: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Brackets:
    """Numbers >= 0, each between two ends.

    Args:
        lower: finite, 0 where nothing is known.
        upper: not below ``lower``; infinite where nothing is known.

    Raises:
        BadInput: for no brackets, or ends that are none.

    >>> found = Brackets(np.array([0.1, 0.0]), np.array([0.2, np.inf])).distribution()
    >>> found.at.tolist(), found.lower.tolist(), found.upper.tolist()
    ([0.0, 0.1, 0.2], [0.0, 0.0, 0.5], [0.5, 1.0, 1.0])
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.lower.ndim != 1 or self.lower.shape != self.upper.shape or not self.lower.size:
            raise BadInput(f"brackets have a lower and an upper end each, got {self.lower.shape}, {self.upper.shape}")
        ordered = (self.lower >= 0) & (self.lower <= self.upper) & np.isfinite(self.lower)  # NaN is not
        if not ordered.all():
            row = int(np.argmin(ordered))
            raise BadInput(f"bracket {row} goes from {self.lower[row]} to {self.upper[row]}: no number lies there")

    def __len__(self) -> int:
        return len(self.lower)

    def at(self, rows: NDArray[np.bool_]) -> Brackets:
        """Those of some rows."""
        return Brackets(self.lower[rows], self.upper[rows])

    def distribution(self) -> Steps:
        """Between which two functions the empirical distribution of the numbers lies.

        A number is certainly at most t where its upper end is, and possibly where its lower end is.
        """
        ends = np.concatenate([[0.0], self.lower, self.upper[np.isfinite(self.upper)]])
        at = np.unique(ends)
        lower, upper = (np.searchsorted(np.sort(end), at, side="right") for end in (self.upper, self.lower))
        return Steps(at, lower / len(self), upper / len(self))

    def band(self, delta: float) -> Steps:
        """The same for the distribution that the numbers were drawn from, right everywhere with probability 1 - delta.

        Finite-sample, for numbers drawn independently (:func:`~certify.stats.population.dkw_width`): the lower edge
        hangs on the upper ends, the upper edge on the lower ones. Rounded outward.

        Raises:
            BadInput: for delta outside (0, 1).
        """
        found, width = self.distribution(), dkw_width(len(self), check_delta(delta) / 2)
        lower = np.clip(np.nextafter(np.nextafter(found.lower, 0) - width, -1), 0.0, 1.0)
        upper = np.clip(np.nextafter(np.nextafter(found.upper, 2) + width, 2), 0.0, 1.0)
        return Steps(found.at, lower, upper)

    def rank(self, rank: int) -> tuple[float, float]:
        """Between which numbers the ``rank``-th smallest lies, counted from 1; 0 and n + 1 stand for 0 and infinity."""
        if rank < 1:
            return 0.0, 0.0
        if rank > len(self):
            return math.inf, math.inf
        return float(np.sort(self.lower)[rank - 1]), float(np.sort(self.upper)[rank - 1])

    def quantile(self, share: float) -> tuple[float, float]:
        """Between which numbers the smallest lies that at least this share of them does not exceed."""
        return self.rank(sample_rank(share, len(self)))

    def population_quantile(self, share: float, delta: float) -> tuple[float, float]:
        """Between which numbers the quantile of the distribution lies that the numbers were drawn from.

        Right with probability at least 1 - delta, for numbers drawn independently from any distribution
        (:func:`population_ranks`): from the lower end of one order statistic to the upper end of another.
        """
        low, high = population_ranks(share, len(self), delta)
        return self.rank(low)[0], self.rank(high)[1]


def sample_rank(share: float, n: int) -> int:
    """The rank of a sample's quantile: the smallest k with k / n >= share, for a share in (0, 1).

    >>> sample_rank(0.5, 4), sample_rank(0.5, 5), sample_rank(0.95, 20)
    (2, 3, 19)
    """
    return next(k for k in range(max(1, math.floor(share * n) - 1), n + 1) if k / n >= share)


def population_ranks(share: float, n: int, delta: float) -> tuple[int, int]:
    """Ranks between whose order statistics a quantile lies with probability >= 1 - delta; 0 and n + 1 where none does.

    The number of values below the quantile q is at most Binomial(n, share), that of values up to q at least: so the
    l-th smallest is above q with probability at most P[Binomial <= l - 1], and the u-th below q with probability at
    most P[Binomial >= u]. Each is held to delta / 2 by exact tails, rounded up (Conover 1999, section 3.2).

    Raises:
        BadInput: for a share or a delta outside (0, 1).

    >>> population_ranks(0.5, 20, 0.05), population_ranks(0.95, 20, 0.05)
    ((6, 15), (17, 21))
    """
    if not 0 < share < 1:
        raise BadInput(f"a quantile is at a share strictly between 0 and 1, got {share}")
    half = check_delta(delta) / 2
    low, above = 0, n + 1  # the largest rank with P[Binomial <= rank - 1] <= half
    while above - low > 1:
        middle = (low + above) // 2
        low, above = (middle, above) if binomial_at_most(middle - 1, n, share) <= half else (low, middle)
    below, high = 0, n + 1  # the smallest rank with P[Binomial >= rank] <= half
    while high - below > 1:
        middle = (below + high) // 2
        below, high = (below, middle) if binomial_at_least(middle, n, share) <= half else (middle, high)
    return low, high


@dataclass(frozen=True, slots=True)
class Signs:
    """For pairs of numbers known to brackets, which is the larger, and the sign test of "either as often".

    Args:
        first, second: pairs whose brackets show that the first, or the second, number is larger.
        equal: pairs of equal numbers.
        open: pairs whose brackets overlap.
        p_lower, p_upper: smallest and largest p-value over all numbers within the brackets.
    """

    first: int
    second: int
    equal: int
    open: int
    p_lower: float
    p_upper: float


def signs(one: Brackets, other: Brackets) -> Signs:
    """The exact two-sided sign test of paired numbers; pairs of equal ones are left out (Conover 1999, section 3.4).

    Brackets that overlap may hide either order, or equality; those that touch in one point, one order or equality. The
    p-value grows with the rarer order and falls with the other, so that its ends are reached where all open pairs go
    one way, or balance.

    Raises:
        BadInput: for different numbers of pairs.

    >>> low, high = np.array([0.1, 0.2, 0.3, 0.4, 0.0]), np.array([0.15, 0.25, 0.35, 0.45, 1.0])
    >>> signs(Brackets(low, high), Brackets(low - low, high - high + 0.05))
    Signs(first=4, second=0, equal=0, open=1, p_lower=0.0625, p_upper=0.375)
    """
    if len(one) != len(other):
        raise BadInput(f"{len(one)} and {len(other)} numbers make no pairs: join them by input first")
    first, second = one.lower > other.upper, other.lower > one.upper
    equal = (one.lower == one.upper) & (other.lower == other.upper) & (one.lower == other.lower)
    free = ~(first | second | equal)
    # An open pair may still exclude one order: no number of a bracket lies above the other's lower end.
    may_first, may_second = free & (one.upper > other.lower), free & (other.upper > one.lower)
    sure, others = int(first.sum()), int(second.sum())
    most, most_others = sure + int(may_first.sum()), others + int(may_second.sum())
    ends = _p_value(most, others), _p_value(sure, most_others)
    rare, often = (most_others, sure) if sure >= others else (most, others)
    return Signs(sure, others, int(equal.sum()), int(free.sum()), min(ends), _p_value(min(rare, often), often))


def _p_value(first: int, second: int) -> float:
    return sign_test(first, first + second) if first + second else 1.0


def kolmogorov_smirnov(one: Brackets, other: Brackets) -> tuple[float, float]:
    """Smallest and largest p-value of "both were drawn from one distribution" over all numbers within the brackets.

    Twice the smaller p-value of the two one-sided tests, each exact for up to 10,000 numbers a side
    (:func:`scipy.stats.ks_2samp`): where the first distribution function is to lie above the second, numbers at the
    upper ends of the first and the lower ends of the second show it least, and the opposite ends most. Equal numbers
    make the test conservative.

    >>> low = np.linspace(0, 1, 20)
    >>> [round(p, 4) for p in kolmogorov_smirnov(Brackets(low, low + 0.1), Brackets(low + 0.5, low + 0.6))]
    [0.0011, 0.0811]
    """

    def p_value(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
        ends = np.concatenate([above, below])
        top = 1.0 + ends[np.isfinite(ends)].max(initial=0.0)  # any number beyond the others says the same as infinity
        above, below = (np.minimum(values, top) for values in (above, below))
        return float(stats.ks_2samp(above, below, alternative="greater").pvalue)

    least = min(p_value(one.lower, other.upper), p_value(other.lower, one.upper))
    most = min(p_value(one.upper, other.lower), p_value(other.upper, one.lower))
    return min(1.0, 2 * least), min(1.0, 2 * most)
