"""Intervals over seeds, folds and inputs: coverage by simulation, so that a wrong one would be seen."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.replicates import corrected_interval, shared_inputs_interval, student_interval

TRIALS = 20_000
SLACK = 4 * math.sqrt(0.05 * 0.95 / TRIALS)
"""Four standard errors of a coverage: 0.006. With the normal quantile three seeds would cover 0.81, with a degree of
freedom too many 0.91."""


def covered(intervals: list[tuple[float, float] | None], truth: float) -> float:
    return float(np.mean([one is not None and one[0] <= truth <= one[1] for one in intervals]))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_students_interval_covers_the_mean_over_seeds(k: int) -> None:
    shares = np.random.default_rng(k).normal(0.6, 0.001, (TRIALS, k))
    found = covered([student_interval(line) for line in shares.tolist()], 0.6)
    assert abs(found - 0.95) < SLACK


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_the_corrected_interval_covers_where_folds_depend_on_each_other_as_it_assumes(folds: int) -> None:
    generator, shared = np.random.default_rng(folds), 1 / folds  # n_test / (n_test + n_train)
    common = generator.normal(0.0, math.sqrt(shared), (TRIALS, 1))
    own = generator.normal(0.0, math.sqrt(1 - shared), (TRIALS, folds))
    shares = (0.6 + 0.001 * (common + own)).tolist()
    ratio = 1 / (folds - 1)
    assert abs(covered([corrected_interval(line, ratio) for line in shares], 0.6) - 0.95) < SLACK
    assert covered([student_interval(line) for line in shares], 0.6) < 0.95 - 4 * SLACK


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("agreement", [0.0, 0.7, 1.0])
def test_the_interval_over_inputs_covers_however_models_depend_on_each_other(p: float, agreement: float) -> None:
    n, models, trials = 60, 3, 4000
    generator = np.random.default_rng(1)
    same = generator.random((trials, n, 1)) < agreement
    alone, together = generator.random((trials, n, models)) < p, generator.random((trials, n, 1)) < p
    counts = np.where(same, together, alone).sum(axis=(1, 2))
    intervals = {count: shared_inputs_interval(count, n, models) for count in set(counts.tolist())}
    assert covered([intervals[count] for count in counts.tolist()], p) >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / trials)
    # As many inputs as pairs would be too many: where the models agree, that covers far less.
    if agreement == 1.0 and p == 0.5:
        pairs = n * models
        wrong = [
            (clopper_pearson_lower(k, pairs, 0.025), clopper_pearson_upper(k, pairs, 0.025)) for k in counts.tolist()
        ]
        assert covered(wrong, p) < 0.85


def test_the_interval_over_inputs_costs_little_more_than_that_of_one_model() -> None:
    low, high = shared_inputs_interval(300, 500, 1)
    assert (low, high) == pytest.approx(
        (clopper_pearson_lower(300, 500, 0.025), clopper_pearson_upper(300, 500, 0.025))
    )
    lower, upper = shared_inputs_interval(900, 500, 3)
    assert high - low < upper - lower < 1.25 * (high - low)


def test_the_interval_over_inputs_grows_with_what_is_certified() -> None:
    found = [shared_inputs_interval(count, 20, 3) for count in range(61)]
    assert found[0][0] == 0
    assert found[-1][1] == 1
    for one, next_ in pairwise(found):
        assert one[0] <= next_[0]
        assert one[1] <= next_[1]
    assert all(low <= count / 60 <= high for count, (low, high) in enumerate(found))


def test_equal_shares_say_nothing_about_others() -> None:
    assert student_interval([0.5, 0.5, 0.5]) is None
    assert corrected_interval([1.0, 1.0], 1.0) is None


def test_intervals_stay_within_zero_and_one() -> None:
    assert student_interval([0.0, 1.0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: student_interval([0.5]),
        lambda: student_interval([]),
        lambda: student_interval([0.5, math.nan]),
        lambda: student_interval([0.5, 1.1]),
        lambda: student_interval([0.5, 0.6], 0.0),
        lambda: corrected_interval([], 0.5),
        lambda: corrected_interval([0.5, 0.6], 0.0),
        lambda: corrected_interval([0.5, 0.6], math.nan),
        lambda: shared_inputs_interval(7, 3, 2),
        lambda: shared_inputs_interval(0, 0, 2),
        lambda: shared_inputs_interval(1, 3, 2, 1.0),
    ],
)
def test_what_cannot_be_is_refused(call) -> None:
    with pytest.raises(BadInput):
        call()
