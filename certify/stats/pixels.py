"""Which pixels of an image are shown to have a probable class, all at once; and what that says of their shares."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.rounding import below
from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import binomial_at_most, check_alpha
from certify.stats.simultaneous import check_delta, false_inputs

__all__ = ["at_least", "fewest_hits", "mean_lower", "not_on_top", "on_top", "true_share_lower"]

special = later("scipy.special")

ROUNDED: Final = 1 + 1e-9
"""By how much p-values of examples are raised for their rounding."""


def fewest_hits(hits: NDArray[np.int64], n: int, missed: float, alpha: float) -> int:
    """How many of n samples have to return a pixel's class for its probability to be shown above ``1 - missed``.

    A pixel is shown where its hits are at least this number, which is n + 1 where none is. One of them is shown wrongly
    with probability at most alpha, however the pixels depend on each other: the p-values of the pixels' binomial tests
    go through Holm's step-down procedure (Fischer et al. 2021, Algorithm 2 with Holm 1979). More hits are smaller
    p-values, so what is rejected is a number of hits and all above it.

    Args:
        hits: of each pixel that is tested, of a class named beforehand.
        n: samples of each.
        missed: the probability of missing the class, below which it has to be.
        alpha: probability that any pixel is shown although it should not be.

    Raises:
        BadInput: for no pixels, hits that are no numbers of n samples, or alpha outside (0, 1).

    >>> fewest_hits(np.array([1000, 990, 930, 910, 600]), 1000, 0.1, 0.001)
    990
    """
    check_alpha(alpha)
    if not hits.size or int(hits.min()) < 0 or int(hits.max()) > n:
        raise BadInput(f"hits of pixels are numbers from 0 to {n:,}, and there has to be one")
    values, often = np.unique(hits, return_counts=True)
    pixels, above, least = int(hits.size), 0, n + 1

    def rejected(value: int, left: int) -> bool:
        return Fraction(binomial_at_most(n - value, n, missed)) * left <= Fraction(alpha)

    sure = bisect_left(range(n + 1), True, key=lambda value: rejected(value, pixels))  # the strictest of all steps
    for value, count in zip(values[::-1].tolist(), often[::-1].tolist(), strict=True):
        if value < sure and not rejected(value, pixels - above):
            break
        least, above = value, above + count
    return least


def not_on_top(own: NDArray[np.int64], rival: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """P-values of: the class with ``own`` votes is the most probable one at its pixel.

    Among votes for it and one rival it has a share of at least one half then; the strongest rival is one of the others,
    which a union pays for.

    >>> not_on_top(np.array([10, 40]), np.array([90, 60]), classes=2).round(4).tolist()
    [0.0, 0.0284]
    """
    below: NDArray[np.float64] = special.bdtr(own, own + rival, 0.5)
    return np.minimum(1.0, (classes - 1) * ROUNDED * below)


def on_top(own: NDArray[np.int64], rival: NDArray[np.int64]) -> NDArray[np.float64]:
    """P-values of: some class is at least as probable as the one with ``own`` votes, whose strongest rival has others.

    >>> on_top(np.array([90, 60]), np.array([10, 40])).round(4).tolist()
    [0.0, 0.0284]
    """
    return np.minimum(1.0, ROUNDED * np.where(own > 0, special.bdtrc(own - 1, own + rival, 0.5), 1.0))


def at_least(p_values: NDArray[np.float64], k: int) -> float:
    """The p-value of: fewer than k of these hypotheses are false (Benjamini and Heller 2008, equation 4).

    However they depend on each other: ``(m - k + 1)`` times the k-th smallest.

    >>> at_least(np.array([0.001, 0.002, 0.9]), 2), at_least(np.array([0.5]), 2)
    (0.004, 1.0)
    """
    if k > p_values.size:
        return 1.0
    return 0.0 if k < 1 else min(1.0, (p_values.size - k + 1) * float(np.sort(p_values.ravel())[k - 1]))


def true_share_lower(
    shares: Sequence[float],
    copies: Sequence[int],
    alpha: float,
    delta: float,
    labels: Sequence[int] | None = None,
) -> float:
    """Lower bound on the mean share of these images that is truly kept, with probability >= 1 - delta over the noise.

    All claims about an image are true together with probability at least 1 - alpha, and independently of other images:
    as many images as may be false (:func:`~certify.stats.simultaneous.false_inputs`), those with the largest shares,
    count as 0.

    Args:
        shares: certified share of each image.
        copies: how often each distinct image occurs among them; together they are all.
        labels: how many label maps each of them has, see :func:`~certify.stats.simultaneous.false_inputs`.

    >>> [true_share_lower([0.5] * 10, [1] * 10, alpha, 0.05) for alpha in (0.001, 0.01)]
    [0.5, 0.449...]
    """
    if len(shares) != sum(copies) or not all(0 <= one <= 1 for one in shares):
        raise BadInput(f"there is one share between 0 and 1 for each of {sum(copies)} images")
    false = false_inputs(copies, alpha, delta, labels)
    kept = sum(map(Fraction, sorted(shares, reverse=True)[false:]), Fraction(0)) / len(shares)
    return below(kept)


def mean_lower(shares: Sequence[float], alpha: float, delta: float) -> float:
    """Lower bound on the mean share that is truly kept in a population of images, with probability >= 1 - delta.

    Over the draw of these images, independent and at random, and over the noise: numbers between 0 and 1 have a mean of
    at least p unless ``exp(-n KL(observed mean, p))`` is small (Hoeffding 1963, Theorem 1), and a share that is claimed
    exceeds the true one with probability at most alpha, so that its expectation exceeds the true one by alpha at most.

    >>> mean_lower([0.8] * 100, 0.001, 0.05), mean_lower([0.0, 0.0], 0.001, 0.05)
    (0.690..., 0.0)
    """
    check_delta(delta)
    check_alpha(alpha)
    n, mean = len(shares), math.fsum(shares) / len(shares)
    if not all(0 <= one <= 1 for one in shares):
        raise BadInput("shares lie between 0 and 1")
    low, high, bound = 0.0, mean, -math.log(delta) / n
    for _ in range(60):
        middle = (low + high) / 2
        if middle > 0 and _apart(mean, middle) < bound:
            high = middle
        else:
            low = middle
    return max(0.0, low - alpha - 1e-9)  # what these few roundings can add up to is far below


def _apart(mean: float, p: float) -> float:
    """The Kullback-Leibler divergence of two coins, mean >= p."""
    rest = 0.0 if mean >= 1 else (1 - mean) * math.log((1 - mean) / (1 - p))
    return (mean * math.log(mean / p) if mean > 0 else 0.0) + rest
