"""How certified radii, and the confidence bounds behind them, are spread over the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.columns import NO_CLASS
from certify.core.sandwich import Sandwich
from certify.stats.brackets import Brackets

__all__ = [
    "QUANTILES",
    "Distribution",
    "critical_radii",
    "distribution_of_p_lower",
    "distribution_of_radii",
    "misclassified",
]

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of the inputs at which a distribution is read off."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One number an input, for those inputs that have it.

    Args:
        n: inputs that have one.
        without: inputs that have none: wrong, or nothing certified.
        quantiles: each share of *all* inputs, and the number that at least the rest of them reach; an input without
            one counts as 0. Never between two inputs' numbers, so that none is rounded up.
        largest: the largest number; None if no input has one.
        at_largest: share of all inputs that have exactly the largest. Many of them show a ceiling, such as the radius
            that n samples can certify when all of them agree, and not how robust the model is.
        edges: borders of the bins, ascending, one more than there are bins; a number on a border is in the upper bin,
            the largest in the last.
        counts: inputs in each bin.
    """

    n: int
    without: int
    quantiles: tuple[tuple[float, float], ...]
    largest: float | None
    at_largest: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def distribution_of_radii(sandwich: Sandwich, bins: int = 20, counted: bool = False) -> Distribution:
    """The radii certified around the right answer, binned from 0 to the largest; each by itself where they are counts.

    >>> row = np.arange(4)
    >>> radii = np.array([0.5, np.nan, 0.25, 0.5])
    >>> found = distribution_of_radii(Sandwich(row, row, row, row * 0, radii, radii, radii, radii, radii), bins=2)
    >>> found.counts, found.without, found.at_largest, found.quantiles[2]
    ((0, 3), 1, 0.5, (0.5, 0.25))
    """
    largest = float(np.nanmax(sandwich.certified, initial=0.0))
    if counted:
        return _distribution(sandwich.certified, np.arange(-0.5, largest + 1))
    return _distribution(sandwich.certified, np.linspace(0.0, largest or 1.0, bins + 1))


def distribution_of_p_lower(sandwich: Sandwich, bins: int = 20) -> Distribution | None:
    """The lower bounds on the probability of the predicted class, binned from 0 to 1; None for proofs."""
    if np.isnan(sandwich.p_lower).all():
        return None
    return _distribution(sandwich.p_lower, np.linspace(0.0, 1.0, bins + 1))


def misclassified(sandwich: Sandwich) -> NDArray[np.bool_]:
    """The inputs to which the model gives a wrong answer; no answer, and a failed computation, is none."""
    return ~sandwich.correct & np.not_equal(sandwich.prediction, NO_CLASS)


def critical_radii(sandwich: Sandwich) -> Brackets:
    """Between what the distance of each input's nearest adversarial example lies: a proof below, an example above.

    It is 0 for a misclassified input, at least 0 where nothing is proven, and infinite where no example is known. Where
    proof and example contradict each other, one of them is wrong, and nothing is known.

    >>> row = np.zeros(3, dtype=np.int64)
    >>> proven, broken = np.array([0.25, np.nan, 0.5]), np.array([0.5, 0.75, 0.5])
    >>> found = critical_radii(Sandwich(row, row, row, row, proven, proven, broken, broken, broken))
    >>> found.lower.tolist(), found.upper.tolist()
    ([0.25, 0.0, 0.0], [0.5, 0.75, inf])
    """
    lower, upper = np.nan_to_num(sandwich.sure, nan=0.0), np.nan_to_num(sandwich.attacked, nan=np.inf)
    crossed = sandwich.attacked <= sandwich.sure
    lower, upper = np.where(crossed, 0.0, lower), np.where(crossed, np.inf, upper)
    wrong = misclassified(sandwich)
    return Brackets(np.where(wrong, 0.0, lower), np.where(wrong, 0.0, upper))


def _distribution(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Distribution:
    have = values[~np.isnan(values)]
    counts, _ = np.histogram(have, edges)
    reached = np.quantile(np.nan_to_num(values), QUANTILES, method="lower")
    return Distribution(
        n=have.size,
        without=values.size - have.size,
        quantiles=tuple(zip(QUANTILES, reached.tolist(), strict=True)),
        largest=float(have.max()) if have.size else None,
        at_largest=float(np.mean(values == have.max())) if have.size else 0.0,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )
