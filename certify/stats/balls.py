"""Ball arithmetic: numbers with a proven error bound, so that a comparison is either certain or undecided.

A confidence bound or a quantile is the inverse of a function, and an inverse in floating point lands on either side of
the exact value. Therefore the function itself is evaluated at the float that is returned: ``tail <= alpha`` holds for
the whole ball around the tail (Johansson 2017, the library Arb), however the float was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from flint import acb, arb, ctx

__all__ = ["binomial_tail", "float_above", "sound_root", "working_precision"]

FIRST_MARGIN: Final = 2.0**-51
"""Relative distance from the root, on the sound side, of the first float to be verified."""

MAX_NEWTON_STEPS: Final = 60
"""Newton steps at one working precision; a handful are usual."""

LONGEST_SERIES: Final = 4000
"""Number of terms above which the library's incomplete beta function (1 to 2 ms) is quicker than the series."""

_precision_lock = Lock()


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute with ``bits`` bits inside, and leave the library's setting as it was.

    The setting belongs to the process, not to the thread: the lock keeps two threads from restoring each other's. A
    thread that changes it without the lock can make the balls of another wider, but not wrong.

    >>> with working_precision(200):
    ...     third = arb(1) / 3
    >>> third.rel_accuracy_bits() > 190
    True
    """
    with _precision_lock, ctx.workprec(bits):
        yield


def binomial_tail(k: int, n: int, p: arb, q: arb) -> tuple[arb, arb]:
    """P[Binomial(n, p) >= k] for 1 <= k <= n with q = 1 - p, and its derivative by log(p), which is k P[... = k].

    The two balls hold the exact values for every p in the ball given. Both p and q are taken because the digits of the
    small one matter. The tail is the first term times a hypergeometric series where p <= 1/2 (DLMF 8.17.8), and one
    minus the other tail elsewhere; how many terms are summed is a matter of speed, the library bounds the rest. A long
    series gives way to the library's regularised incomplete beta function.

    >>> tail, slope = binomial_tail(9, 10, arb(0.5), arb(0.5))
    >>> (tail * 1024).contains(11), (slope * 1024).contains(90)
    (True, True)
    """
    slope = k * _probability(k, n, p, q)
    if k == n:
        return p**n, slope
    swap = not p <= 0.5
    if swap and (k - n * float(p)) ** 2 > ctx.prec / 2 * n * float(p) * float(q):
        return p.beta_lower(k, n - k + 1, True), slope  # so small that it would drown in one minus the other tail
    first, small, large = (n - k + 1, q, p) if swap else (k, p, q)
    spread = math.sqrt(n * float(small) / float(large))
    terms = int(math.sqrt(ctx.prec) * 1.3 * spread) + ctx.prec
    if terms > LONGEST_SERIES:
        tail = small.beta_lower(first, n - first + 1, True)
    else:
        series = acb(small).hypgeom([n + 1, 1], [first + 1], n=terms).real
        tail = _probability(first, n, small, large) * large * series
    return 1 - tail if swap else tail, slope


def _probability(k: int, n: int, p: arb, q: arb) -> arb:
    """P[Binomial(n, p) = k]."""
    log_ways = arb(n + 1).lgamma() - arb(k + 1).lgamma() - arb(n - k + 1).lgamma()
    return (log_ways + k * p.log() + (n - k) * q.log()).exp() if k < n else p**n


def float_above(ball: arb) -> float:
    """The smallest float that is certainly not below ``ball``, or the next one.

    >>> float_above(arb(1) / 3) > 1 / 3, float_above(arb(0.75))
    (True, 0.75)
    """
    upper = ball.upper()
    nearest = float(upper)
    return nearest if arb(nearest) >= upper else math.nextafter(nearest, math.inf)


def sound_root(
    probe: Callable[[float], tuple[arb, arb]],
    start: float,
    domain: tuple[float, float],
    outward: float,
    tolerance: float,
    bits: int,
) -> float:
    """A float that ``probe`` proves to be on the sound side of a root, within ``tolerance`` of it relatively.

    ``probe(x)`` returns two balls: one that is certainly <= 0 only where x is sound, and the Newton step from x to the
    root. ``start`` is only a first guess. ``outward`` is the end of ``domain`` where soundness is trivial: floats are
    moved towards it, and it is the answer where nothing better can be proved. Where a comparison stays undecided, it is
    repeated further out, and then with up to 32 times as many ``bits``.

    >>> def square_root_of_two(x):
    ...     return arb(x) ** 2 - 2, (2 - arb(x) ** 2) / (2 * arb(x))
    >>> sound_root(square_root_of_two, 1.5, (0.0, 2.0), 0.0, 1e-14, 64)
    1.41421356237309...
    """
    low, high = domain
    sign = 1.0 if outward == high else -1.0
    best, x = outward, start + sign * tolerance / 4 * abs(start)
    x = min(max(x, math.nextafter(low, high)), math.nextafter(high, low))
    for precision in (bits << doubling for doubling in range(6)):
        with working_precision(precision):
            margin = FIRST_MARGIN
            for _ in range(MAX_NEWTON_STEPS):
                excess, step = probe(x)
                close = bool(abs(step) <= tolerance * abs(x))
                if excess <= 0:
                    if close:
                        return x
                    best = x if sign * (best - x) > 0 else best
                elif close:
                    margin *= 2
                if not step.is_finite() or margin > tolerance:
                    break
                root = float((x + step).mid())
                moved = root + sign * margin * abs(root)
                moved = (x + low) / 2 if moved <= low else (x + high) / 2 if moved >= high else moved
                if moved in (x, low, high):
                    break
                x = moved
    return best
