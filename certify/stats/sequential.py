"""Looks at the votes before all are counted: when to look, at what share of alpha, what is proven, when to give up.

Only claims need a guarantee. Abstention is always sound, so the decision to give up may rest on approximations.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import check_alpha

__all__ = ["Looks", "Plan", "best_look", "geometric_looks", "plan"]

special = later("scipy.special")

RATIO: Final = 1.2
"""Samples at a look relative to the look before: at most a fifth more samples are drawn than were needed."""

FIRST_LOOK: Final = 16
"""Samples at the first look: fewer cannot prove a majority at the usual alpha."""

LAST_SHARE: Final = 0.3
"""Share of alpha on the last look; the others share the rest equally."""

PRICE: Final = 0.35
"""What proving a declared radius is worth in samples, as a share of the most samples: see :func:`_price`. At this price
about 0.2 to 0.4 points of certified accuracy were lost compared with 100,000 samples for every input."""

LEAST_PRICED: Final = 100_000
"""The price is computed for at least this many samples: giving up loses less the higher the price, whatever n is."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Looks:
    """When the votes are looked at, and the probability of a wrong bound that each look may spend.

    The bounds of all looks hold together, except with probability at most the sum of ``alpha`` (union bound). So the
    best of them may be claimed, at any moment and for whatever reason the sampling stops.

    Args:
        n: samples at each look, ascending.
        alpha: error probability of each look; 0 where nothing can be claimed, only given up.

    Raises:
        BadInput: unless n ascends from at least 1, every alpha lies in [0, 1), and the last look has some.

    >>> Looks((1000, 10_000), (0.0004, 0.0006)).most
    10000
    """

    n: tuple[int, ...]
    alpha: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.n or len(self.n) != len(self.alpha):
            raise BadInput(f"looks need as many alphas as sample numbers, got {len(self.n)} and {len(self.alpha)}")
        if any(after <= before for before, after in zip((0, *self.n), self.n, strict=False)):
            raise BadInput(f"looks must ascend from at least 1, got {', '.join(map(str, self.n))}")
        check_alpha(self.alpha[-1])
        if not all(0 <= alpha < 1 for alpha in self.alpha):
            raise BadInput(f"every look's alpha must lie in [0, 1), got {', '.join(map(str, self.alpha))}")

    @classmethod
    def summing_to(cls, alpha: float, n: Sequence[int], alphas: Sequence[float]) -> Looks:
        """A schedule that the user gives, whose alphas must sum to ``alpha``.

        Raises:
            BadInput: if they do not, to nine digits.

        >>> Looks.summing_to(0.001, [1000, 10_000], [0.0004, 0.0005])
        Traceback (most recent call last):
        ...
        certify.errors.BadInput: the looks' alphas sum to 0.0009, not to alpha=0.001; make them sum to it
        """
        total = math.fsum(alphas)
        if not math.isclose(total, alpha, rel_tol=1e-9):
            raise BadInput(f"the looks' alphas sum to {total:.10g}, not to alpha={alpha:g}; make them sum to it")
        shrink = min(1.0, alpha / total) * (1.0 - 2.0**-50)  # decimals that sum to alpha may exceed it as floats
        return cls(tuple(n), tuple(share * shrink for share in alphas))

    @property
    def most(self) -> int:
        """Samples at the last look."""
        return self.n[-1]


def geometric_looks(n: int, alpha: float, q: float, ratio: float = RATIO, last_share: float = LAST_SHARE) -> Looks:
    """Looks up to ``n`` samples, each ``ratio`` times the one before, for targets of ``q`` and below.

    The last look spends ``last_share`` of alpha. The rest goes in equal parts to those looks that could show the
    probability of missing the class to be at most ``q`` if no sample missed it; none goes to earlier ones.

    >>> looks = geometric_looks(2000, 0.001, q=0.01, ratio=2.0)
    >>> looks.n
    (16, 32, 64, 128, 256, 512, 1024, 2000)
    >>> looks.alpha[5], round(looks.alpha[6], 6), round(looks.alpha[7], 6)
    (0.0, 0.0007, 0.0003)
    """
    counts = [min(FIRST_LOOK, n)]
    while counts[-1] < n:
        counts.append(min(n, math.ceil(counts[-1] * ratio)))
    early = alpha * (1.0 - last_share)
    able = [count for count in counts[:-1] if count * math.log1p(-q) <= math.log(early / len(counts))]
    if not able:
        return Looks(tuple(counts), (*(0.0 for _ in counts[1:]), alpha))
    shares = [early / len(able) if count in able else 0.0 for count in counts[:-1]]
    return Looks.summing_to(alpha, counts, [*shares, alpha * last_share])


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Conclusions from the misses at each of K looks, for J targets that are proven one after another.

    A target is a bound on the probability of missing the class, low enough for one declared radius; targets descend.
    A later target is examined once the ones before are proven. All rest on the same K bounds, so alpha is paid once.

    Args:
        looks: the schedule.
        claim: (J, K) most misses with which a look proves a target; -1 where it cannot.
        give_up: (J, K) fewest misses at which a target is not worth more samples.
    """

    looks: Looks
    claim: Integers
    give_up: Integers

    def step(self, look: int, misses: Integers, level: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Conclusions at one look, for many inputs at once.

        Args:
            look: number of the look.
            misses: (B,) samples so far that did not return the class.
            level: (B,) targets proven before.

        Returns:
            (B,) targets proven now, and (B,) whether to go on sampling.
        """
        targets = len(self.claim)
        level = level.copy()
        for target in range(targets):
            level += (level == target) & (misses <= self.claim[target, look])
        if look + 1 == len(self.looks.n):
            return level, np.zeros(level.shape, dtype=np.bool_)
        pursued = self.give_up[np.minimum(level, targets - 1), look]
        return level, (level < targets) & (misses < pursued)


@functools.lru_cache(maxsize=64)
def plan(looks: Looks, targets: tuple[float, ...]) -> Plan:
    """The plan that proves ``targets``, descending bounds on the probability of missing the class.

    >>> plan(Looks((100,), (0.001,)), (0.5,)).claim  # 66 votes of 100 are needed to prove a majority
    array([[34]])
    """
    schedule = list(zip(looks.n, looks.alpha, strict=True))
    claim = np.array([[_most_misses(n, alpha, q) for n, alpha in schedule] for q in targets])
    give_up = np.array([_give_up(looks, row, q) for row, q in zip(claim, targets, strict=True)])
    return Plan(looks, claim, give_up)


def best_look(misses: Sequence[int], looks: Looks) -> int:
    """The look whose upper bound on the probability of missing the class is least; ``misses`` may end early.

    Found with ordinary floats: whichever look is named, its bound holds, and it is computed soundly later.

    >>> best_look([0, 5], Looks((1000, 2000), (0.0005, 0.0005)))
    0
    """
    k, n, alpha = np.array(misses), np.array(looks.n[: len(misses)]), np.array(looks.alpha[: len(misses)])
    upper = np.where((k < n) & (alpha > 0), special.betainccinv(k + 1, np.maximum(n - k, 1), alpha), 1.0)
    return int(upper.argmin())


def _most_misses(n: int, alpha: float, q: float) -> int:
    """The most misses k out of n that prove q at level alpha (Clopper-Pearson): P[Binomial(n, q) <= k] <= alpha."""
    if not alpha:
        return -1
    return bisect.bisect_right(range(n), alpha, key=lambda k: float(special.bdtr(k, n, q))) - 1


def _price(looks: Looks, q: float) -> float:
    """What proving a target is worth, in samples; more where samples resolve the radius more coarsely.

    They resolve a probability to about sqrt(q (1 - q) / n), that is a Gaussian radius to sqrt(q (1 - q) / n) / pdf. Far
    out many more inputs lie within what is unresolved; priced like this every declared radius loses about as many.
    """
    z = float(special.ndtri(q))
    price = PRICE * max(looks.most, LEAST_PRICED) * math.sqrt(2.0 * math.pi * q * (1.0 - q)) * math.exp(z * z / 2.0)
    # Looks of one's own may lie far apart: a proof that is almost certain is always worth the next look.
    return max(price, 2.0 * max((after - before for before, after in pairwise(looks.n)), default=0))


def _give_up(looks: Looks, claim: Integers, q: float) -> Integers:
    """The fewest misses, at each look, at which further samples cost more than the proof is worth.

    Optimal stopping by backward induction (Chow, Robbins and Siegmund 1971): a proof pays its price, a sample costs
    one. The state is the angle arcsin(sqrt(misses / n)), which is about normal with variance 1 / (4 n) whatever the
    probability (Anscombe 1948): with no opinion about it beforehand, the angle at ``n'`` samples is spread around the
    present one with variance (1/n - 1/n') / 4.
    """
    price, target = _price(looks, q), math.asin(math.sqrt(q))
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    steps = np.linspace(-10.0, 10.0, 401)
    reach = int(claim.max())  # misses only grow: with more than this nothing can be proven any more
    give_up = np.empty(len(looks.n), dtype=np.int64)
    n_next, ahead, value = looks.n[-1], np.zeros(1), np.zeros(1)
    for k in range(len(looks.n) - 1, -1, -1):
        n = looks.n[k]
        angle = target + steps / (2.0 * math.sqrt(n))
        misses = (n + 0.75) * np.sin(np.clip(angle, 0.0, math.pi / 2.0)) ** 2 - 0.375
        if k + 1 == len(looks.n):
            going_on = np.zeros_like(angle)
        else:
            sd = math.sqrt(1.0 / n - 1.0 / n_next) / 2.0
            expected = np.interp(angle[:, None] + sd * nodes, ahead, value, left=price, right=0.0) @ weights
            going_on = expected - (n_next - n)
        proven = misses <= claim[k] + 0.5
        worth = misses[proven | (going_on > 0.0)]
        last = math.floor(worth[-1]) if len(worth) else -1
        give_up[k] = min(max(last, int(claim[k])), reach) + 1
        n_next, ahead, value = n, angle, np.where(proven, price, np.maximum(going_on, 0.0))
    return give_up
