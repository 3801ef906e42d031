"""Exact binomial tails and confidence bounds, always rounded to the sound side.

Near certainty everything is worked in ``q = 1 - p``, the probability of *missing*: ``1 - p_lower`` would lose digits.

A bound promises something about the tail at that bound: ``P[Binomial(n, p_lower) >= k] <= alpha``. Inverse beta
functions in floating point break this promise: they land on the wrong side about half the time, and in places they are
far off (``scipy.stats.beta.ppf(0.001, 1, 100000)`` is 2.5e-5 too high). They only give the first guess. Newton steps in
ball arithmetic lead to the exact bound, and the float that is returned is verified: the ball around its tail lies at or
below the float alpha. It is within 1e-12 of the exact bound, relative to the bound, or next to it where floats are
coarser (below 1e-308). Where nothing can be proved the answer is the trivial bound, 0 or 1.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

from flint import arb

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.balls import binomial_tail, float_above, sound_root, working_precision

__all__ = [
    "TAIL_BITS",
    "binomial_at_least",
    "binomial_at_most",
    "check_alpha",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "sign_test",
]

special = later("scipy.special")

TOLERANCE: Final = 2e-13
"""Relative distance from the exact bound at which Newton steps stop: well inside the promised 1e-12."""

EXACT_FLIPS: Final = 256
"""Largest number of coin flips for which the sign test counts outcomes in exact integers."""

TAIL_BITS: Final = 128
"""Working precision of a tail, in bits: it leaves an error 30 digits below the tail at ten million trials."""


def check_alpha(alpha: float) -> float:
    """Return ``alpha`` if it lies strictly between 0 and 1.

    Raises:
        BadInput: otherwise, NaN included.
    """
    if not 0 < alpha < 1:
        raise BadInput(f"alpha must lie strictly between 0 and 1, got {alpha}; 0.001 is usual")
    return alpha


def _check_counts(k: int, n: int) -> None:
    if not 0 <= k <= n or n < 1:
        raise BadInput(f"{k} successes out of {n} trials are impossible")


def _bits(n: int) -> int:
    """Working precision for a tail of n trials, in which log-gamma functions of size n log(n) cancel."""
    return 64 + n.bit_length()


def clopper_pearson_upper(k: int, n: int, alpha: float) -> float:
    """Upper bound on a probability after ``k`` successes in ``n`` trials: it is too low with probability <= alpha.

    One-sided (Clopper and Pearson 1934): the largest p with P[Binomial(n, p) <= k] >= alpha, and 1 where k = n. Never
    below the exact bound, and at most 1e-12 above it, relatively.

    Raises:
        BadInput: if not 0 <= k <= n, n >= 1 and 0 < alpha < 1.

    >>> clopper_pearson_upper(0, 1000, 0.001)
    0.00688...
    """
    _check_counts(k, n)
    check_alpha(alpha)
    return 1.0 if k == n else _upper(int(k), int(n), float(alpha))


def clopper_pearson_lower(k: int, n: int, alpha: float) -> float:
    """Lower bound on a probability after ``k`` successes in ``n`` trials: it is too high with probability <= alpha.

    One-sided (Clopper and Pearson 1934): BetaInv(alpha; k, n - k + 1), and 0 where k = 0. Never above the exact bound,
    and at most 1e-12 below it, relatively.

    Raises:
        BadInput: if not 0 <= k <= n, n >= 1 and 0 < alpha < 1.

    >>> clopper_pearson_lower(1000, 1000, 0.001)
    0.99311...
    """
    _check_counts(k, n)
    check_alpha(alpha)
    return 0.0 if k == 0 else _lower(int(k), int(n), float(alpha))


@lru_cache(maxsize=4096)
def _lower(k: int, n: int, alpha: float) -> float:
    def probe(p: float) -> tuple[arb, arb]:
        tail, slope = binomial_tail(k, n, arb(p), 1 - arb(p))
        return tail - alpha, p * _log_step(tail, slope, alpha).expm1()

    hint = math.exp(math.log(alpha) / n) if k == n else float(special.betaincinv(k, n - k + 1, alpha))
    # A union over the sets of k trials: P[Binomial(n, p) >= k] <= C(n, k) p**k.
    union = math.exp((math.log(alpha) - math.lgamma(n + 1) + math.lgamma(k + 1) + math.lgamma(n - k + 1)) / k)
    return sound_root(probe, hint if 0 < hint < 1 else union, (0.0, 1.0), 0.0, TOLERANCE, _bits(n))


@lru_cache(maxsize=4096)
def _upper(k: int, n: int, alpha: float) -> float:
    def probe(q: float) -> tuple[arb, arb]:
        p = 1 - arb(q)
        tail, slope = binomial_tail(n - k, n, p, arb(q))
        return tail - alpha, q * _log_step(tail, -slope * q / p, alpha).expm1()

    hint = -math.expm1(math.log(alpha) / n) if k == 0 else float(special.betainccinv(k + 1, n - k, alpha))
    return sound_root(probe, hint if 0 < hint < 1 else (k + 1) / (n + 1), (0.0, 1.0), 1.0, TOLERANCE, _bits(n))


def _log_step(tail: arb, slope: arb, alpha: float) -> arb:
    """The Newton step in the logarithm of the bound towards tail = alpha; logits of the tails make it nearly linear."""
    level = arb(alpha)
    return (level * (1 - tail) / (tail * (1 - level))).log() * tail * (1 - tail) / slope


def binomial_at_least(k: int, n: int, p: float) -> float:
    """P[Binomial(n, p) >= k], rounded up.

    >>> binomial_at_least(0, 10, 0.5), binomial_at_least(10, 10, 0.5) * 1024, binomial_at_least(11, 10, 0.5)
    (1.0, 1.0, 0.0)
    """
    if k <= 0:
        return 1.0
    if k > n or p == 0:
        return 0.0
    return _tail(k, n, p, complement=False)


def binomial_at_most(k: int, n: int, p: float) -> float:
    """P[Binomial(n, p) <= k], rounded up.

    >>> binomial_at_most(10, 10, 0.5), binomial_at_most(0, 1000, 0.001), binomial_at_most(-1, 10, 0.5)
    (1.0, 0.36769..., 0.0)
    """
    if k >= n:
        return 1.0
    if k < 0 or p == 1:
        return 0.0
    return _tail(n - k, n, p, complement=True)


def _tail(k: int, n: int, p: float, *, complement: bool) -> float:
    """The upper end of a ball around P[... >= k] for p or, exactly, 1 - p; 1 where the ball says nothing."""
    with working_precision(TAIL_BITS):
        hit, miss = arb(p), 1 - arb(p)
        tail, _ = binomial_tail(k, n, *((miss, hit) if complement else (hit, miss)))
        return min(1.0, float_above(tail))


def sign_test(k: int, n: int) -> float:
    """Two-sided p-value of ``k`` successes in ``n`` trials of a fair coin: the test inside PREDICT. Never rounded down.

    Source: Hung and Fithian 2019 for testing the winner; used by Cohen et al. 2019, section 3.2.1.

    >>> sign_test(9, 10)
    0.021484375
    """
    _check_counts(k, n)
    most = int(max(k, n - k))
    if n <= EXACT_FLIPS:
        exact = Fraction(2 * sum(math.comb(n, i) for i in range(most, n + 1)), 2**n)
        nearest = float(exact)
        return min(1.0, nearest if nearest >= exact else math.nextafter(nearest, 1.0))
    with working_precision(_bits(n)):
        half = arb(0.5)
        return min(1.0, float_above(2 * binomial_tail(most, int(n), half, half)[0]))
