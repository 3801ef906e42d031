"""Is a new model worse than an old one? Both certified on the same inputs, at the same radius.

The comparison is about the probability of being certified, over inputs drawn at random and, where certificates are
probabilistic, their noise: with p01 = P[new alone] and p10 = P[old alone], the difference new - old is p01 - p10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import binomial_at_least, binomial_at_most, clopper_pearson_lower, clopper_pearson_upper
from certify.stats.unconditional import ROUNDING, OutcomeSet, largest_chance

__all__ = ["NonInferiority", "PairedCounts", "exact_test", "mcnemar_p_value", "tango_test"]

special = later("scipy.special")

_HALVINGS: Final = 60
"""Bisection steps: an interval of length 2 shrinks below the spacing of floats near 1."""

_REFINEMENTS: Final = 3
"""Bisection steps of the exact limit, each of which costs an evaluation of the largest chance."""

_RANGE_SHARE: Final = 50
"""One part in 50 of the level pays for a range of the discordance."""


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """How many inputs are certified by both models, by the old alone (``n10``), by the new alone (``n01``), by neither.

    Raises:
        BadInput: for negative counts or no inputs at all.

    >>> PairedCounts(n11=300, n10=8, n01=12, n00=180).difference
    0.008
    """

    n11: int
    n10: int
    n01: int
    n00: int

    def __post_init__(self) -> None:
        if min(self.n11, self.n10, self.n01, self.n00) < 0 or self.n < 1:
            raise BadInput(f"impossible counts of a paired comparison: {self.n11}, {self.n10}, {self.n01}, {self.n00}")

    @classmethod
    def of(cls, old: Sequence[bool], new: Sequence[bool]) -> PairedCounts:
        """Count outcomes that are aligned: ``old[i]`` and ``new[i]`` say whether input i is certified.

        Raises:
            BadInput: for different lengths, no inputs, or outcomes that are neither true nor false.

        >>> PairedCounts.of([True, True, False], [True, False, False])
        PairedCounts(n11=1, n10=1, n01=0, n00=1)
        """
        if len(old) != len(new):
            raise BadInput(f"{len(old)} old outcomes and {len(new)} new ones: join them by input first")
        for outcome in (*old, *new):
            if outcome not in (True, False):
                raise BadInput(f"an outcome is either certified or not, got {outcome!r}")
        pairs = [(bool(before), bool(after)) for before, after in zip(old, new, strict=True)]
        return cls(*(pairs.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def n(self) -> int:
        """Number of inputs."""
        return self.n11 + self.n10 + self.n01 + self.n00

    @property
    def difference(self) -> float:
        """Certified accuracy of the new model minus that of the old one."""
        return (self.n01 - self.n10) / self.n


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The outcome of testing "the new model is worse than the old one by ``margin`` or more", with its evidence."""

    counts: PairedCounts
    margin: float
    level: float
    """Allowed probability of passing a model that is worse by the margin or more."""
    test: Literal["tango", "exact"]
    statistic: float | None
    """Tango's score; the exact test has none."""
    p_value: float
    """A bound on the smallest level that passes; Tango's is never below a fiftieth of ``level``."""
    lower: float
    """One-sided lower confidence limit of the difference new - old, at 1 - level."""

    @property
    def passed(self) -> bool:
        """Whether the new model is shown to be worse by less than the margin."""
        return self.lower > -self.margin


def tango_test(counts: PairedCounts, margin: float, level: float = 0.05) -> NonInferiority:
    """Test that the new model is worse by less than ``margin``; the more powerful of the two, with the same guarantee.

    The difference is held against its standard error under the hypothesis -margin, from the maximum likelihood estimate
    under that hypothesis (Tango 1998). That score is normal only in the limit: taken at its word, it passed worse
    models with probability up to 0.068 at level 0.05. Here it does no more than put outcomes in an order. What is
    claimed is the exact limit for that order (Buehler 1957): the largest difference under which outcomes that speak as
    much for the new model, or more, have at most the allowed probability, whatever the two models' discordance is
    within a range that misses it with probability ``level`` / 50, which is paid for (Berger and Boos 1994).

    Raises:
        BadInput: unless margin lies in (0, 1) and level in (0, 1/2].

    >>> result = tango_test(PairedCounts(n11=300, n10=8, n01=12, n00=180), margin=0.02)
    >>> result.passed, round(result.p_value, 5), round(result.lower, 5)
    (True, 0.00516, -0.00749)
    """
    _check(margin, level)
    score = _tango_score(counts, -margin)
    spent = level / _RANGE_SHARE
    differing = counts.n01 + counts.n10
    discordance = (
        clopper_pearson_lower(differing, counts.n, spent / 2),
        clopper_pearson_upper(differing, counts.n, spent / 2),
    )
    outcomes = _at_least_as_good(counts, level)
    if outcomes is None:
        return NonInferiority(counts, margin, level, "tango", score, 1.0, -1.0)
    p_value = min(1.0, spent + largest_chance(outcomes, -margin, discordance))
    lower = _exact_lower(counts, outcomes, discordance, level)
    return NonInferiority(counts, margin, level, "tango", score, p_value, lower)


def _tango_score(counts: PairedCounts, difference: float) -> float:
    """Standardised distance of the observed difference from ``difference``, strictly between -1 and 1."""
    return float(_scores(np.float64(counts.n01), np.float64(counts.n10), counts.n, difference))


def _scores(b: Any, c: Any, n: int, difference: float) -> Any:
    """Tango's score for each n01 and n10."""
    # q estimates p10 where p01 = q + difference: the root of 2n q^2 + linear q - c d (1 - d) from d log-likelihood = 0.
    linear = (2 * n - b + c) * difference - b - c
    q = (np.sqrt(np.maximum(0.0, linear**2 + 8 * n * c * difference * (1 - difference))) - linear) / (4 * n)
    # p01 + p10 is at least |difference|; below that only rounding gets, where the margin is next to 0 or to 1.
    size = abs(difference)
    variance = np.maximum(2 * q + difference * (1 - difference), size * (1 - size))
    return (b - c - n * difference) / np.sqrt(n * variance)


def _tango_lower(counts: PairedCounts, level: float) -> float:
    """The largest difference that is still rejected as too low: the score falls as the difference grows."""
    z = -float(special.ndtri(level))
    rejected, kept = -1.0, counts.difference
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        if rejected < middle < kept and _tango_score(counts, middle) > z:
            rejected = middle
        else:
            kept = middle
    return rejected


def _at_least_as_good(counts: PairedCounts, level: float) -> OutcomeSet | None:
    """The outcomes whose approximate limit is not below that of ``counts``; None for all of them.

    An outcome's limit is at least d if its score there is at least the normal quantile; slightly lower scores are let
    in too, so that rounding leaves none out. Outcomes with more n01 or less n10 than one of these are added, so that
    the chance of the set grows with the difference.
    """
    limit = _tango_lower(counts, level)
    if limit <= -1.0:
        return None
    n, z = counts.n, min(-float(special.ndtri(level)), _tango_score(counts, limit))
    n01 = np.arange(n + 1)
    inside, outside = np.full(n + 1, -1), n - n01 + 1
    while (outside - inside > 1).any():
        middle = np.maximum((inside + outside) // 2, 0)
        good = _scores(n01.astype(float), middle.astype(float), n, limit) >= z - 1e-9 * (1 + abs(z))
        apart = outside - inside > 1
        inside, outside = np.where(apart & good, middle, inside), np.where(apart & ~good, middle, outside)
    inside[counts.n01] = max(inside[counts.n01], counts.n10)
    return OutcomeSet(np.minimum(np.maximum.accumulate(inside), n - n01))


def _exact_lower(counts: PairedCounts, outcomes: OutcomeSet, discordance: tuple[float, float], level: float) -> float:
    """A difference under which the outcomes have at most the probability that is left, whatever the discordance.

    The search goes down from the approximate limit, in growing steps that begin with a fiftieth of a standard error,
    and then halves the last step a few times.
    """
    allowed = level - level / _RANGE_SHARE - ROUNDING

    def proved(difference: float) -> bool:
        return difference <= -1.0 or largest_chance(outcomes, difference, discordance, allowed) <= allowed

    lower = _tango_lower(counts, level)
    step, above = math.sqrt(max(discordance[1], 1 / counts.n) / counts.n) / 50, lower
    while not proved(lower):
        above, lower, step = lower, lower - step, 1.5 * step
    for _ in range(_REFINEMENTS):
        middle = (lower + above) / 2
        lower, above = (middle, above) if proved(middle) else (lower, middle)
    return max(-1.0, lower)


def exact_test(counts: PairedCounts, margin: float, level: float = 0.05) -> NonInferiority:
    """Test that the new model is worse by less than ``margin``, with a guarantee at any number of inputs.

    p01 is bounded from below and p10 from above (Clopper and Pearson 1934), each at level / 2; the difference is below
    their difference only if one of the two is wrong. The p-value is the smallest level that passes: twice the larger of
    P[Binomial(n, t) >= n01] and P[Binomial(n, t + margin) <= n10] at the best t. Any t gives a valid, larger one.

    Raises:
        BadInput: unless margin lies in (0, 1) and level in (0, 1/2].

    >>> result = exact_test(PairedCounts(n11=300, n10=8, n01=12, n00=180), margin=0.02)
    >>> result.passed, round(result.p_value, 4), round(result.lower, 5)
    (True, 0.0402, -0.01882)
    """
    _check(margin, level)
    n, b, c = counts.n, counts.n01, counts.n10
    t = _meeting_point(b, c, n, margin)
    new_alone = binomial_at_least(b, n, t) if t else 0.0  # that p01 >= 0 cannot be wrong
    old_alone = binomial_at_most(c, n, math.nextafter(t + margin, 0.0))
    lower = clopper_pearson_lower(b, n, level / 2) - clopper_pearson_upper(c, n, level / 2)
    return NonInferiority(
        counts,
        margin,
        level,
        "exact",
        None,
        min(1.0, 2 * max(new_alone, old_alone)),
        max(-1.0, math.nextafter(lower, -math.inf)),
    )


def _meeting_point(b: int, c: int, n: int, margin: float) -> float:
    """About the t where P[Binomial(n, t) >= b], which rises, meets P[Binomial(n, t + margin) <= c], which falls."""
    if b == 0:
        return 0.0
    t, above = 0.0, 1.0 - margin
    for _ in range(_HALVINGS):
        middle = (t + above) / 2
        if c == n or special.betainc(b, n - b + 1, middle) <= special.betaincc(c + 1, n - c, middle + margin):
            t = middle
        else:
            above = middle
    return t


def mcnemar_p_value(counts: PairedCounts) -> float:
    """Exact two-sided p-value of "both models are certified equally often", from the discordant inputs (McNemar 1947).

    >>> mcnemar_p_value(PairedCounts(n11=300, n10=3, n01=12, n00=185))
    0.03515625
    """
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[counts.n11, counts.n10], [counts.n01, counts.n00]]
    return float(mcnemar(table, exact=True).pvalue)


def _check(margin: float, level: float) -> None:
    if not 0 < margin < 1:
        raise BadInput(f"the margin must lie strictly between 0 and 1 (0.02 is two percentage points), got {margin}")
    if not 0 < level <= 0.5:
        raise BadInput(f"the level of the test must lie in (0, 0.5], got {level}; 0.05 is usual")
