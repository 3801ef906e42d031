"""By how much does accuracy fall between two strengths? Both are measured on the same inputs."""

from __future__ import annotations

import math

from certify.stats.binomial import check_alpha, clopper_pearson_lower, clopper_pearson_upper
from certify.stats.paired import PairedCounts

__all__ = ["fall_interval"]


def fall_interval(counts: PairedCounts, alpha: float) -> tuple[float, float]:
    """An interval for the fall of accuracy from one strength to another; it misses with probability <= alpha.

    The fall is P[right before, wrong after] - P[wrong before, right after]. Each of the two probabilities is bounded on
    either side at alpha / 4 (Clopper and Pearson 1934); the fall lies outside only if one of the four bounds is wrong.
    Valid for any number of inputs. A fall may be negative.

    Args:
        counts: ``n10`` inputs are right before and wrong after, ``n01`` the other way round.
        alpha: probability of missing.

    Raises:
        BadInput: for alpha outside (0, 1).

    >>> lower, upper = fall_interval(PairedCounts(n11=60, n10=30, n01=2, n00=8), 0.05)
    >>> round(lower, 3), round(upper, 3)
    (0.123, 0.412)
    """
    level, n = check_alpha(alpha) / 4, counts.n
    lower = clopper_pearson_lower(counts.n10, n, level) - clopper_pearson_upper(counts.n01, n, level)
    upper = clopper_pearson_upper(counts.n10, n, level) - clopper_pearson_lower(counts.n01, n, level)
    return max(-1.0, math.nextafter(lower, -math.inf)), min(1.0, math.nextafter(upper, math.inf))
