"""Confidence bounds on quantiles from order statistics: exact for every distribution, also one with steps."""

from __future__ import annotations

import bisect
from functools import lru_cache
from typing import Final

from certify.stats.binomial import binomial_at_most, check_alpha

__all__ = ["rank_below"]

_RANKS: Final = 4096


@lru_cache(maxsize=_RANKS)
def rank_below(n: int, p: float, alpha: float) -> int:
    """The rank whose order statistic of ``n`` samples lies above the p-quantile with probability at most ``alpha``.

    The k-th smallest sample exceeds the quantile only if fewer than k samples lie at it or below it, and each does with
    probability at least p: P[Binomial(n, p) <= k - 1] is at most alpha for the rank returned, the largest such. Counted
    from the largest sample, the same rank lies below the (1 - p)-quantile with probability at most alpha.

    Returns:
        The rank, from 1; 0 where even the smallest sample is no bound.

    >>> rank_below(100, 0.5, 0.025), rank_below(3, 0.5, 0.025)      # as in tables of the sign test
    (40, 0)
    """
    check_alpha(alpha)
    return bisect.bisect_right(range(1, n + 1), alpha, key=lambda k: binomial_at_most(k - 1, n, p))
