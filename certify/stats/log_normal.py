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

_WIDEST: Final = 20.0
"""A standard deviation of logarithms above this, a factor of 5e8, means that the brackets do not bound it."""

_CELLS: Final = 1 << 18
"""Numbers that are worked on at a time."""

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
    with np.errstate(divide="ignore"):
        lower, upper = np.log(brackets.lower), np.log(brackets.upper)
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
    exact = lower == upper
    left, right = np.isneginf(lower) & ~exact, np.isposinf(upper) & ~exact
    known = ~(left | right | exact)
    told = left & right  # nothing is known
    data = stats.CensoredData(
        uncensored=lower[exact],
        left=upper[left & ~told],
        right=lower[right & ~told],
        interval=np.stack([lower, upper], axis=1)[known],
    )
    mu, sigma = stats.norm.fit(data, optimizer=_minimum)
    return float(mu), float(sigma)


def _minimum(function: Any, start: Any, args: Any = (), disp: int = 0) -> Any:
    return optimize.fmin(function, start, args=args, disp=disp, xtol=1e-8, ftol=1e-10, maxfun=2000)


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
    slope a where the convex, piecewise linear ``excess(a)`` is not above 0. Its minimum is found by halving.
    """
    n = lower.shape[1]
    reach, stay = np.arange(1, n + 1) / n - distance, np.arange(n) / n + distance
    at_least = special.ndtri(np.clip(reach, 0.0, 1.0))  # -inf where every law does, at the first ends
    at_most = special.ndtri(np.clip(stay, 0.0, 1.0))  # inf where every law does, at the last ones
    tied, held = np.isfinite(at_least), np.isfinite(at_most)
    x, least = upper[:, tied], at_least[tied]
    y, most = lower[:, held], at_most[held]
    rows = np.arange(len(lower))
    least = np.where(np.isfinite(x), least, -np.inf)  # an end that is not known asks for nothing
    most = np.where(np.isfinite(y), most, np.inf)
    x, y = np.nan_to_num(x, posinf=0.0, neginf=0.0), np.nan_to_num(y, posinf=0.0, neginf=0.0)
    if not (x.shape[1] and y.shape[1]):
        return np.ones(len(lower), dtype=bool)
    low, high = np.zeros(len(lower)), np.full(len(lower), 1e3)
    fits = np.zeros(len(lower), dtype=bool)
    for _ in range(50):
        slope = (low + high) / 2
        above, below = least - slope[:, None] * x, slope[:, None] * y - most
        i, j = above.argmax(axis=1), below.argmax(axis=1)
        fits |= ~(above[rows, i] + below[rows, j] > 0)  # NaN where one side asks for nothing: that fits
        rising = y[rows, j] - x[rows, i] > 0
        low, high = np.where(rising, low, slope), np.where(rising, slope, high)
    return fits
