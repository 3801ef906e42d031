"""The exact order statistic of split conformal prediction, and what one calibration set promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from certify.core.values import number
from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_lower

__all__ = ["as_written", "conformal_rank", "coverage_given", "order_statistic"]


def as_written(coverage: object) -> Fraction:
    """The decimal number that somebody wrote for a coverage: 0.9 means nine tenths, not the float next to it.

    Raises:
        BadInput: unless it lies strictly between 0 and 1.

    >>> as_written(0.9)
    Fraction(9, 10)
    """
    value = number("coverage", coverage)
    if not 0 < value < 1:
        raise BadInput(f"coverage must lie strictly between 0 and 1, got {value}; 0.9 is usual")
    return Fraction(repr(value))


def conformal_rank(n: int, level: Fraction) -> int:
    """Which of ``n`` ascending scores is the threshold: ``ceil((n + 1) level)``, in whole numbers.

    Where the scores of n calibration inputs and of a new one are exchangeable, the new one is among the ``rank``
    smallest of all n + 1 with probability at least ``rank / (n + 1)``, and then at most the ``rank``-th smallest of the
    n (Vovk et al. 2005; ties only help). A rank above n stands for an infinite threshold.

    >>> conformal_rank(9, as_written(0.9)), conformal_rank(8, as_written(0.9)), conformal_rank(99, as_written(0.9))
    (9, 9, 90)
    """
    return math.ceil((n + 1) * level)


def order_statistic(scores: Sequence[float], rank: int) -> float:
    """The ``rank``-th smallest score, counted from 1; infinite where there are fewer. NaN counts as infinite.

    >>> order_statistic([0.3, math.nan, 0.1], 2), order_statistic([0.3, math.nan, 0.1], 3)
    (0.3, inf)
    """
    ascending = sorted(math.inf if math.isnan(score) else score for score in scores)
    return ascending[rank - 1] if rank <= len(ascending) else math.inf


def coverage_given(rank: int, n: int, delta: float) -> float:
    """A coverage that all but a share ``delta`` of calibration sets of ``n`` independent inputs give, rounded down.

    Given the calibration set, the coverage of the ``rank``-th smallest score is at least a variable with the law
    Beta(rank, n + 1 - rank) (Vovk 2012, Proposition 2a; exactly so without ties), and P[Beta(k, n + 1 - k) <= p] is
    P[Binomial(n, p) >= k]: the lower confidence bound of Clopper and Pearson after ``rank`` successes in ``n`` trials.

    >>> round(coverage_given(91, 100, 0.01), 3), coverage_given(101, 100, 0.01)
    (0.821, 1.0)
    """
    return 1.0 if rank > n else clopper_pearson_lower(rank, n, delta)
