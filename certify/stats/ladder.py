"""The (n, alpha) that published radii are consistent with: only certain radii, the rungs of a ladder, are possible.

After n samples of gaussian noise, k of them for the class, the radius is sigma * Phi^-1(BetaInv(alpha; k, n - k + 1))
(Cohen et al. 2019): one rung for each k. This is a search over plausible pairs; nothing is certified from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.printed import Printed
from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import check_alpha

__all__ = [
    "MOST_RADII",
    "PAIRS",
    "TELLING",
    "Fit",
    "at_the_top",
    "audit",
    "fit",
    "largest",
    "likely_settings",
    "likely_sigma",
    "rungs",
    "top_rung",
]

special = later("scipy.special")

MOST_RADII: Final = 30
"""Number of distinct radii compared, from the largest: further down, rungs lie closer than printed digits."""

TELLING: Final = 10
"""Least number of distinct radii, and of rows at the largest, for which an unstated fit is more than chance."""

PAIRS: Final = tuple(
    (n, alpha)
    for n in (100, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
    for alpha in (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 5e-4, 2e-4, 1e-4, 1e-5, 1e-6)
)
"""The (n, alpha) that papers use, and their neighbours."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well the largest radii of a log sit on the ladder of one (n, alpha).

    Args:
        n, alpha: the pair.
        top: the largest radius that the pair can certify: all n votes agree.
        reached: whether the largest radius prints like ``top``.
        compared: how many distinct radii were compared.
        missing: the printed radii that no rung prints like; looked for only where ``top`` is reached.
        unseen: the rung below ``top`` if the log never prints it although it prints that of other pairs that fit.
    """

    n: int
    alpha: float
    top: float
    reached: bool
    compared: int
    missing: tuple[str, ...]
    unseen: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the pair explains the radii: all compared ones are rungs, and the largest is the top rung."""
        return self.reached and not self.missing and self.unseen is None

    @property
    def reason(self) -> str:
        """Why the pair fits or does not, in words."""
        if not self.reached:
            return f"the largest radius is not its top rung {self.top:.6g}"
        if self.missing:
            return (
                f"{len(self.missing)} of the {self.compared} largest radii are no rung of it: {self.missing[0]} first"
            )
        if self.unseen is not None:
            return f"no input reached its second rung {self.unseen:.6g}, though many reached the top"
        return f"the {self.compared} largest distinct radii are rungs of it, the largest is the top rung {self.top:.6g}"


def rungs(k: NDArray[np.int64], n: int, alpha: float, sigma: float) -> NDArray[np.float64]:
    """The radii that ``k`` of ``n`` votes certify, negative where they certify nothing (Cohen et al. 2019).

    Worked in the probability of a miss, so that the top of the ladder keeps its digits.

    Raises:
        BadInput: unless n >= 1, sigma > 0 and 0 < alpha < 1.

    >>> rungs(np.array([990, 1000]), 1000, 0.001, 0.25).round(4)
    array([0.4945, 0.6158])
    """
    check_alpha(alpha)
    if n < 1 or not 0 < sigma < math.inf:
        raise BadInput(f"a ladder needs n >= 1 and a finite sigma > 0, got n={n} and sigma={sigma}")
    q_upper = special.betainccinv(n - k + 1, k, alpha)
    return np.asarray(-sigma * special.ndtri(q_upper), dtype=np.float64)


def top_rung(n: int, alpha: float, sigma: float) -> float:
    """The largest radius that ``n`` samples can certify.

    >>> round(top_rung(100_000, 0.001, 1.0), 4)
    3.8115
    """
    return float(rungs(np.array([n]), n, alpha, sigma)[0])


def largest(printed: Iterable[Printed]) -> list[Printed]:
    """The largest distinct printed radii above 0, descending: those that :func:`fit` compares.

    >>> from certify.core.printed import Printing
    >>> [one.text for one in largest(map(Printing(3, None).read, ["0.5", "0.953", "0.0", "0.5"]))]
    ['0.953', '0.5']
    """
    distinct = {one for one in printed if one.value > 0}
    return sorted(distinct, key=lambda one: (one.value, one.lowest), reverse=True)[:MOST_RADII]


def at_the_top(printed: Iterable[Printed]) -> int:
    """How many rows print the largest radius: many if it is the end of the ladder, few if it is the luckiest input.

    >>> from certify.core.printed import Printing
    >>> at_the_top(map(Printing(3, None).read, ["0.953", "0.5", "0.953"]))
    2
    """
    values = [one.value for one in printed]
    return values.count(max(values)) if values else 0


def fit(radii: Sequence[Printed], n: int, alpha: float, sigma: float) -> Fit:
    """Compare printed radii, distinct and from the largest down, with the ladder of one (n, alpha).

    >>> from certify.core.printed import Printing
    >>> fit([*map(Printing(3, None).read, ["0.953", "0.934"])], 100_000, 0.001, 0.25).reason
    '1 of the 2 largest radii are no rung of it: 0.934 first'
    """
    top = top_rung(n, alpha, sigma)
    reached = bool(radii) and radii[0].matches(top)
    missing = _missing(radii, n, alpha, sigma) if reached else ()
    return Fit(n, alpha, top, reached, len(radii), missing)


def _missing(radii: Sequence[Printed], n: int, alpha: float, sigma: float) -> tuple[str, ...]:
    lowest = np.array([one.lowest for one in radii])
    # The first rung from there up: P[Binomial(n, p) >= k] <= alpha at p = Phi(lowest / sigma), which falls with k.
    q = special.ndtr(-lowest / sigma)
    below, first = np.zeros(len(radii), dtype=np.int64), np.full(len(radii), n, dtype=np.int64)
    while np.any(first - below > 1):
        middle = (below + first) // 2
        enough = special.betaincc(n - middle + 1, np.maximum(middle, 1), q) <= alpha
        below, first = np.where(enough, below, middle), np.where(enough, middle, first)
    # The last bits decide at the edge of an interval, so its neighbours are looked at as well.
    near = rungs(np.clip(first[:, None] + np.arange(-1, 2), 1, n), n, alpha, sigma)
    return tuple(
        one.text
        for one, candidates in zip(radii, near.tolist(), strict=True)
        if not any(one.matches(candidate) for candidate in candidates)
    )


def audit(printed: Iterable[Printed], sigma: float, pairs: Iterable[tuple[int, float]] = PAIRS) -> tuple[Fit, ...]:
    """Compare the largest printed radii of a log with the ladder of every pair.

    Args:
        printed: the radii as printed, in any order, with repeats.
        sigma: the noise scale, in the same units.
        pairs: the (n, alpha) to try.

    Returns:
        One :class:`Fit` a pair; none of them fits where no input got all votes, for then the top is not seen. Two pairs
        can share the top rung (n and 2 n, alpha and alpha squared) and a finer ladder has most rungs of a coarser one,
        so where several fit, those whose second rung is never printed are out if another's is.

    >>> from certify.core.printed import Printing
    >>> radii = map(Printing(3, None).read, ["0.953", "0.935", "0.5"])
    >>> [(one.n, one.alpha) for one in audit(radii, 0.25) if one.fits]
    [(100000, 0.001)]
    """
    radii = largest(printed)
    tried = [fit(radii, n, alpha, sigma) for n, alpha in pairs]
    unseen = {one: second for one in tried if one.fits and (second := _unseen(one, radii, sigma)) is not None}
    if len(unseen) < sum(one.fits for one in tried):
        tried = [replace(one, unseen=unseen.get(one)) for one in tried]
    return tuple(tried)


def _unseen(one: Fit, radii: Sequence[Printed], sigma: float) -> float | None:
    """The second rung, unless one of the radii prints like it."""
    second = float(rungs(np.array([one.n - 1]), one.n, one.alpha, sigma)[0])
    return None if any(radius.matches(second) for radius in radii) else second


def likely_sigma(printed: Iterable[Printed], n: int, alpha: float) -> float | None:
    """The round sigma, of at most two digits, on whose ladder the radii do lie; None if there is none.

    Fewer than ``TELLING`` distinct radii find a sigma by chance, so they find none.

    >>> from certify.core.printed import Printing
    >>> radii = ["0.953", "0.935", "0.922", "0.913", "0.905", "0.898", "0.892", "0.886", "0.881", "0.877"]
    >>> likely_sigma(map(Printing(3, None).read, radii), 100_000, 0.001)
    0.25
    """
    radii = largest(printed)
    if len(radii) < TELLING:
        return None
    top = top_rung(n, alpha, 1.0)
    lowest, highest = radii[0].lowest / top, radii[0].highest / top
    for digits in (1, 2):
        sigma = float(f"{(lowest + highest) / 2:.{digits}g}")
        if lowest <= sigma <= highest and fit(radii, n, alpha, sigma).fits:
            return sigma
    return None


def likely_settings(
    printed: Sequence[Printed], pairs: Iterable[tuple[int, float]] = PAIRS
) -> tuple[tuple[float, int, float], ...]:
    """Every (sigma, n, alpha) with a round sigma that the radii fit: what to ask about where the stated sigma fails.

    >>> from certify.core.printed import Printing
    >>> radii = ["0.953", "0.935", "0.922", "0.913", "0.905", "0.898", "0.892", "0.886", "0.881", "0.877"]
    >>> likely_settings([*map(Printing(3, None).read, radii)])
    ((0.25, 100000, 0.001),)
    """
    found = ((likely_sigma(printed, n, alpha), n, alpha) for n, alpha in pairs)
    return tuple((sigma, n, alpha) for sigma, n, alpha in found if sigma is not None)
