"""The log-normal law of radii known to brackets: its most likely parameters, and a test of the law itself.

Bosman et al. (JAIR 2025) fit log-normal laws to critical radii and test them by Kolmogorov-Smirnov. Two things are done
differently. Parameters are those most likely given intervals, not given a point of each. And the test allows for
parameters that were fitted to the same numbers: a plain Kolmogorov-Smirnov p-value is then far too large (Lilliefors
1967), so that hardly any law is ever refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.lazy import later
from certify.stats.brackets import Brackets

__all__ = ["FEWEST", "LogNormal", "log_normal"]

special, stats, optimize = later("scipy.special"), later("scipy.stats"), later("scipy.optimize")

FEWEST: Final = 5
"""Fewer numbers show no law."""

_DRAWS: Final = 1999
"""Samples of the null hypothesis: p-values are multiples of 1/2000."""

_NARROW: Final = 1e-6
"""A bracket narrower than this share of the spread is a point: the chance of an interval would lose its digits."""

_WIDEST: Final = 20.0
"""A standard deviation of logarithms above this, a factor of 5e8, means that the brackets do not bound it."""

_CELLS: Final = 1 << 18
"""Numbers that are worked on at a time."""

_STEPS: Final = 60
"""Slopes that are tried; most samples are decided after ten."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A log-normal law and how it fits.

    Args:
        n: numbers that it was fitted to.
        mu, sigma: mean and standard deviation of the natural logarithm, most likely given the brackets.
        distance: the smallest Kolmogorov-Smirnov distance between *any* log-normal law and *any* numbers within the
            brackets.
        p_value: probability of such a distance or a larger one, if the law is log-normal and all numbers were known.
    """

    n: int
    mu: float
    sigma: float
    distance: float
    p_value: float


def log_normal(brackets: Brackets, seed: int = 0) -> LogNormal | str:
    """Fit a log-normal law to numbers above 0 and test whether they follow one; in words, why there is no fit.

    The fit maximises the likelihood of interval-censored numbers. The test statistic is the smallest distance from any
    law of the family, which does not depend on the true parameters: so samples of the standard member give its null
    distribution, for every n, and the test has its level exactly (parametric bootstrap of a pivot; Barnard 1963). Over
    numbers within the brackets, the distance is the smallest possible: a p-value can only be too large, whatever
    decided how wide each bracket is.

    Args:
        brackets: of the numbers.
        seed: of the samples.

    >>> radii = np.exp(np.linspace(-4, -3, 30))
    >>> found = log_normal(Brackets(radii * 0.99, radii * 1.01))
    >>> round(found.mu, 2), round(found.sigma, 2), found.p_value > 0.5
    (-3.5, 0.3, True)
    >>> log_normal(Brackets(radii * 0, radii * 0 + 0.1))
    'one radius lies in all brackets: they show no spread'
    """
    n = len(brackets)
    if n < FEWEST:
        return f"{n} radii show no law; {FEWEST} are the fewest"
    if brackets.lower.max() <= brackets.upper.min():
        return "one radius lies in all brackets: they show no spread"
    order = np.lexsort((brackets.upper, brackets.lower))  # sums depend on it in their last digits
    with np.errstate(divide="ignore"):
        lower, upper = np.log(brackets.lower[order]), np.log(brackets.upper[order])
    if (upper == -np.inf).any():
        return "a radius of 0 has no logarithm"
    ends = np.concatenate([lower, upper])
    ends = ends[np.isfinite(ends)]
    middle, scale = float(ends.mean()), float(ends.std())
    lower, upper = (lower - middle) / scale, (upper - middle) / scale
    mu, sigma = _most_likely(lower, upper)
    if not 0 < sigma * scale < _WIDEST:
        return "the brackets are too wide to bound the spread"
    distance = _distance(np.sort(lower), np.sort(upper))
    return LogNormal(n, middle + scale * mu, scale * sigma, distance, _p_value(distance, n, seed))


def _most_likely(lower: Array, upper: Array) -> tuple[float, float]:
    """Mean and standard deviation of a normal law, given intervals on the real line."""
    exact = upper - lower < _NARROW
    left, right = np.isneginf(lower), np.isposinf(upper)
    known = ~(left | right | exact)
    told = left & right  # nothing is known
    data = stats.CensoredData(
        uncensored=(lower[exact] + upper[exact]) / 2,
        left=upper[left & ~told],
        right=lower[right & ~told],
        interval=np.stack([lower, upper], axis=1)[known],
    )
    mu, sigma = stats.norm.fit(data, optimizer=_minimum)
    return float(mu), float(sigma)


def _minimum(function: Any, start: Any, args: Any = (), disp: int = 0) -> Any:
    return optimize.fmin(function, start, args=args, disp=disp, xtol=1e-6, ftol=1e-8, maxfun=1000)


def _distance(lower: Array, upper: Array) -> float:
    """The smallest distance between a normal law and a distribution function that the sorted ends allow."""
    near, far = 0.0, 0.5  # a law that is 1/2 everywhere is never farther
    for _ in range(40):
        middle = (near + far) / 2
        near, far = (near, middle) if _within(lower[None], upper[None], middle)[0] else (middle, far)
    return near


def _p_value(distance: float, n: int, seed: int) -> float:
    generator = np.random.Generator(np.random.PCG64(seed))
    farther, left, rows = 0, _DRAWS, max(1, _CELLS // n)
    while left:
        sample = np.sort(generator.standard_normal((min(rows, left), n)), axis=1)
        farther += int(np.count_nonzero(~_within(sample, sample, distance * (1 - 1e-9))))
        left -= len(sample)
    return (1 + farther) / (1 + _DRAWS)


def _within(lower: Array, upper: Array, distance: float) -> NDArray[np.bool_]:
    """For each row of sorted ends, whether a normal law lies within ``distance`` of a function that they allow.

    With F(x) = Phi(a x - b), the law has to reach k/n - distance at the k-th upper end, and to stay below (k - 1)/n +
    distance before the k-th lower one: a x - b against a normal quantile, so linear in a and b. A fitting b exists for
    slope a where the convex, piecewise linear ``excess(a)`` is not above 0. Its minimum is found by halving, until the
    line through the last point says that no slope is left.
    """
    n = lower.shape[1]
    reach, stay = np.arange(1, n + 1) / n - distance, np.arange(n) / n + distance
    at_least = special.ndtri(np.clip(reach, 0.0, 1.0))  # -inf where every law does, at the first ends
    at_most = special.ndtri(np.clip(stay, 0.0, 1.0))  # inf where every law does, at the last ones
    x, least = _asked(upper, at_least, -np.inf)
    y, most = _asked(lower, at_most, np.inf)
    fits = np.ones(len(lower), dtype=bool)
    if not (x.shape[1] and y.shape[1]):
        return fits
    left, low, high = np.arange(len(lower)), np.zeros(len(lower)), np.full(len(lower), np.inf)
    for _ in range(_STEPS):
        slope = np.where(np.isfinite(high), (low + high) / 2, 2 * low + (low == 0))
        above, below = least - slope[:, None] * x, slope[:, None] * y - most
        rows, i, j = np.arange(len(left)), above.argmax(axis=1), below.argmax(axis=1)
        excess, rise = above[rows, i] + below[rows, j], y[rows, j] - x[rows, i]
        low, high = np.where(rise > 0, low, slope), np.where(rise > 0, slope, high)
        with np.errstate(invalid="ignore"):  # no rise and no end of slopes: nothing is known, and NaN is not above 0
            never = excess - np.abs(rise) * (high - low) > 0
        fits[left[never]] = False
        open_ = ~never & (excess > 0)  # not where one side asks for nothing, so that the excess is infinite or NaN
        left, low, high = left[open_], low[open_], high[open_]
        x, least, y, most = x[open_], least[open_], y[open_], most[open_]
        if not left.size:
            break
    return fits


def _asked(ends: Array, quantiles: Array, nothing: float) -> tuple[Array, Array]:
    """The ends with a finite quantile, and that quantile for each; an end that is not known asks for ``nothing``."""
    asks = np.isfinite(quantiles)
    ends = ends[:, asks]
    return np.nan_to_num(ends, posinf=0.0, neginf=0.0), np.where(np.isfinite(ends), quantiles[asks], nothing)
