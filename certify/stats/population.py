"""Statements beyond the inputs at hand: about the population or the finite set that they were drawn from at random.

An input that is not robust at r is certified at r with probability at most alpha over its own noise. So the probability
p of being certified and the true accuracy t satisfy p <= t + (1 - t) alpha, and a lower bound on p becomes the lower
bound (p - alpha) / (1 - alpha) on t: a little above p - alpha. The inputs must be distinct and drawn at random; "every
20th" is not random, a seeded permutation is.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from flint import arb

from certify.errors import BadInput
from certify.stats.balls import working_precision
from certify.stats.binomial import TAIL_BITS, binomial_at_least, check_alpha, clopper_pearson_lower
from certify.stats.simultaneous import check_certified, false_certificates, share

__all__ = ["dkw_width", "finite_population_lower", "less_false", "population_curve_lower", "population_lower"]

_REST = 1e-6
"""Share of delta for the event that more certificates are false than the sum over their number includes."""


def less_false(certified: float, alpha: float | None) -> float:
    """True accuracy that follows from a probability of being certified: (p - alpha) / (1 - alpha), rounded down.

    ``alpha`` is None for proofs, where the two are the same.

    >>> less_false(0.6, 0.001), less_false(0.6, None), less_false(0.0, 0.001)
    (0.59959..., 0.6, 0.0)
    """
    if alpha is None:
        return certified
    spent = Fraction(check_alpha(alpha))
    return max(0.0, math.nextafter(float((Fraction(certified) - spent) / (1 - spent)), -math.inf))


def population_lower(certified: Sequence[int], m: int, alpha: float | None, delta: float = 0.05) -> tuple[float, ...]:
    """Lower bounds on the population's true accuracy at J declared radii, all right with probability >= 1 - delta.

    ``certified[j]`` of ``m`` inputs, drawn independently, were certified at the j-th radius. Each count is binomial, so
    Clopper-Pearson at delta / J bounds the probability of being certified; the randomness is that of the inputs and of
    the noise together. The radii are those declared before looking at the counts.

    Raises:
        BadInput: for counts outside 0..m, no radius, or delta or alpha outside (0, 1).

    >>> [round(bound, 3) for bound in population_lower([443, 387, 300, 210], 500, 0.001)]
    [0.85, 0.729, 0.549, 0.37]
    """
    level = share(delta, len(certified))
    return tuple(less_false(clopper_pearson_lower(k, m, level), alpha) for k in certified)


def population_curve_lower(certified: int, m: int, alpha: float | None, delta: float = 0.05) -> float:
    """Lower bound on the population's true accuracy at the radius where ``certified`` of ``m`` were certified.

    Right at *every* radius at once with probability >= 1 - delta, radii chosen afterwards included: certified accuracy
    as a function of the radius is an empirical distribution, of which :func:`dkw_width` bounds the error.

    Raises:
        BadInput: for a count outside 0..m, delta outside (0, 1/2] or alpha outside (0, 1).

    >>> population_curve_lower(300, 500, 0.001)
    0.54481...
    """
    check_certified(certified, m)
    width = dkw_width(m, delta)
    return less_false(max(0.0, math.nextafter(certified / m, 0.0) - width - 2.0**-53), alpha)


def dkw_width(m: int, delta: float) -> float:
    """How far an empirical distribution of ``m`` inputs gets above the true one anywhere: sqrt(ln(1/delta) / (2m)).

    Farther with probability at most delta, for every m and every distribution, and below it likewise (one-sided
    Dvoretzky-Kiefer-Wolfowitz inequality with the constant of Massart 1990, which holds for delta <= 1/2). A band on
    both sides takes delta / 2 on each. Rounded up.

    Raises:
        BadInput: for delta outside (0, 1/2].

    >>> dkw_width(200, 0.025)
    0.09603...
    """
    if not 0 < delta <= 0.5:
        raise BadInput(f"delta must lie in (0, 0.5] for a band around a whole curve, got {delta}; 0.05 is usual")
    # Four operations, each within one unit in the last place: together they err by less than 2**-50 of the size.
    return math.sqrt(-math.log(delta) / (2 * m)) * (1 + 2.0**-50)


def finite_population_lower(
    certified: Sequence[int], m: int, size: int, alpha: float | None, delta: float = 0.05
) -> tuple[int, ...]:
    """Lower bounds on how many of ``size`` inputs are truly robust at J declared radii, from a random ``m`` of them.

    All right with probability >= 1 - delta over the draw, uniform without replacement, and the noise. If N of the
    inputs are robust, H of those drawn are, H hypergeometric, and the number certified is stochastically below
    H + Binomial(m - H, alpha). That sum grows with N, so every N under which ``certified[j]`` or more have probability
    at most delta / J is excluded, and the smallest N left is the bound. No part of delta is set aside for false
    certificates, and for a large set the bound becomes :func:`population_lower`.

    Raises:
        BadInput: for counts outside 0..m, m outside 1..size, no radius, or delta or alpha outside (0, 1).

    >>> finite_population_lower([300], 500, 10_000, 0.001), finite_population_lower([300], 500, 500, None)
    ((5631,), (300,))
    """
    level = share(delta, len(certified))
    if m > size:
        raise BadInput(f"a subset of {m} inputs cannot come from a set of {size}")
    for k in certified:
        check_certified(k, m)
    return tuple(_smallest_left(k, m, size, alpha, level) for k in certified)


def _smallest_left(k: int, m: int, size: int, alpha: float | None, level: float) -> int:
    """The smallest number of robust inputs under which k or more certified have a probability above ``level``.

    The sum over H is cut where more of the m would have to be false than a tiny share of the level allows.
    """
    cut, rest = 0, 0.0
    if alpha is not None:
        cut = false_certificates(m, alpha, level * _REST)
        rest = binomial_at_least(cut + 1, m, alpha)
    false = [binomial_at_least(j, m - k + j, alpha or 0.0) for j in range(min(cut, k) + 1)]

    def left(robust: int) -> bool:
        most, least = min(m, robust), max(m - (size - robust), k - min(cut, k))
        with working_precision(TAIL_BITS):
            total = arb(rest)
            chance = arb.bin_uiui(robust, most) * arb.bin_uiui(size - robust, m - most) / arb.bin_uiui(size, m)
            for h in range(most, least - 1, -1):  # chance is P[H = h], from the top down
                total += chance * false[max(0, k - h)]
                chance = chance * (h * (size - robust - m + h)) / ((robust - h + 1) * (m - h + 1))
            return not total <= level

    return bisect_left(range(size), True, key=left)
