"""The order statistic of split conformal prediction: exact ranks, ties, NaN, and what one calibration set promises."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from certify.errors import BadInput
from certify.stats.conformal import as_written, conformal_rank, coverage_given, order_statistic


def test_the_rank_is_that_of_the_decimal_that_was_written():
    assert conformal_rank(9, as_written(0.9)) == 9  # (9 + 1) times the float of 0.9 is above 9
    assert conformal_rank(19, as_written(0.95)) == 19
    assert conformal_rank(18, as_written(0.95)) == 19  # more than there are
    for n in range(1, 60):
        for tenths in range(1, 10):
            assert conformal_rank(n, as_written(tenths / 10)) == -(-(n + 1) * tenths // 10)


def test_too_few_scores_and_nan_give_an_infinite_threshold():
    assert order_statistic([1.0, 2.0], 3) == math.inf
    assert order_statistic([], 1) == math.inf
    assert order_statistic([math.nan, 1.0], 2) == math.inf
    assert order_statistic([-math.inf, 1.0], 1) == -math.inf


@pytest.mark.parametrize("n", [1, 4, 9, 30])
def test_a_score_of_the_same_law_is_at_most_the_threshold_as_often_as_promised(n):
    """Exact: of all orders of n + 1 different scores, each place of the last one is as likely. Ties only add."""
    for level in (Fraction(1, 2), Fraction(3, 4), Fraction(9, 10)):
        rank = conformal_rank(n, level)
        for values in (range(n + 1), [0] * (n + 1), [place // 2 for place in range(n + 1)]):
            covered = 0
            for last in range(n + 1):
                rest = [value for place, value in enumerate(values) if place != last]
                covered += values[last] <= order_statistic(rest, rank)
            assert Fraction(covered, n + 1) >= level


@pytest.mark.parametrize(("rank", "n"), [(91, 100), (18, 19), (1, 1), (450, 500)])
def test_what_one_calibration_set_gives_is_a_quantile_of_the_beta_law(rank, n):
    exact = stats.beta(rank, n + 1 - rank).ppf(0.01)
    assert coverage_given(rank, n, 0.01) == pytest.approx(exact, rel=1e-9)
    draws = np.sort(np.random.default_rng(0).uniform(size=(4000, n)), axis=1)[:, rank - 1]
    below = int((draws < coverage_given(rank, n, 0.01)).sum())
    assert stats.binom(4000, 0.01).sf(below - 1) > 1e-6


@pytest.mark.parametrize("wrong", [0, 1, 1.5, -0.1, math.nan, math.inf, "0.9", None, True])
def test_what_is_no_coverage_is_refused_in_one_line(wrong):
    with pytest.raises(BadInput, match="coverage must"):
        as_written(wrong)
