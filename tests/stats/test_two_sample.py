"""Tests of two samples: exact where they can be counted, uniform under the null, and able to see a difference."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from certify.errors import BadInput
from certify.stats.two_sample import (
    classifier_test,
    conformal_p_values,
    discoveries,
    distances,
    hypergeometric_at_least,
    mingled,
    nearest_distances,
    permutation_p,
)


def too_often(failures: int, runs: int, level: float) -> bool:
    return stats.binomtest(failures, runs, level, alternative="greater").pvalue < 0.001


def test_distances_are_those_of_kolmogorov_and_smirnov_with_ties():
    draw = np.random.default_rng(0)
    old, new = draw.integers(0, 4, (30, 5)).astype(float), draw.normal(1, 1, (20, 5)).round(1)
    found = distances(old, new, 49)
    for column in range(5):
        assert found.distance[column] == pytest.approx(stats.ks_2samp(old[:, column], new[:, column]).statistic)


def test_permutation_p_values_come_near_those_of_all_permutations():
    draw = np.random.default_rng(1)
    old, new = draw.normal(size=(5, 2)), draw.normal(0.8, 1, (4, 2))
    pooled = np.concatenate([old, new])

    def largest(chosen: tuple[int, ...]) -> float:
        rest = [place for place in range(9) if place not in chosen]
        return max(stats.ks_2samp(pooled[list(chosen), c], pooled[rest, c]).statistic for c in range(2))

    every = [largest(chosen) for chosen in combinations(range(9), 5)]
    exact = np.mean(np.array(every) >= largest(tuple(range(5))) - 1e-12)
    assert distances(old, new, 4999).overall == pytest.approx(exact, abs=0.03)


def test_p_values_are_uniform_under_the_null_and_no_like_feature_is_named_beside_others():
    draw, runs = np.random.default_rng(2), 300
    overall, named, split = [], 0, []
    for _ in range(runs):
        rows = draw.normal(size=(40, 4)) @ draw.normal(size=(4, 4))
        overall.append(distances(rows[:25], rows[25:], 39).overall)
        split.append(classifier_test(rows[:25], rows[25:]).p_value)
        rows[25:, 0] += 5
        named += min(distances(rows[:25], rows[25:], 39).p_value[1:]) <= 0.1
    for level in (0.05, 0.1, 0.25, 0.5):
        assert not too_often(sum(p <= level for p in overall), runs, level)
        assert not too_often(sum(p <= level for p in split), runs, level)
    assert np.mean(np.array(overall) <= 0.5) > 0.3  # and not by being always large
    assert not too_often(named, runs, 0.1)


def test_differences_are_seen():
    draw = np.random.default_rng(3)
    old, new = draw.normal(size=(200, 6)), draw.normal(size=(150, 6))
    new[:, 2] += 1
    found = distances(old, new)
    assert [p <= 0.05 for p in found.p_value] == [False, False, True, False, False, False]
    assert found.overall == 0.001
    assert classifier_test(old, new).p_value < 0.001
    wider = draw.normal(0, 2, size=(150, 6))  # the same means
    assert classifier_test(old, wider).p_value < 0.001
    together = draw.normal(size=(150, 1)) * np.ones((1, 6))
    split = classifier_test(old, np.concatenate([wider, together]))
    assert split.right / split.of > split.chance


def test_counts_are_exact():
    for hits in range(6):
        expected = stats.hypergeom.sf(hits - 1, 12, 5, 6)
        assert hypergeometric_at_least(hits, 12, 5, 6) == pytest.approx(expected, rel=1e-12)
    assert permutation_p(0, 3) == 0.25


def test_distances_to_neighbours_are_those_of_every_pair():
    draw = np.random.default_rng(4)
    rows, reference = draw.normal(size=(7, 3)), draw.normal(size=(9, 3)) * [1.0, 5.0, 0.2]
    scale = reference.std(axis=0)
    expected = np.sort(np.linalg.norm((rows[:, None] - reference[None]) / scale, axis=2), axis=1)[:, 4]
    assert nearest_distances(rows, reference) == pytest.approx(expected)
    assert np.isfinite(nearest_distances(rows, np.zeros((3, 3)))).all()


@pytest.mark.parametrize(("n", "m"), [(1000, 9), (500, 17), (64, 8)])
def test_rounding_tells_no_equal_rows_apart(n, m):
    constant = np.full((n + m, 5), float(np.float32(0.1)))
    assert classifier_test(constant[:n], constant[n:]).p_value == 1
    few = np.random.default_rng(6).uniform(size=(4, 300))
    rows = few[np.random.default_rng(7).integers(0, 4, n + m)]
    assert not nearest_distances(rows[n // 2 :], rows[: n // 2]).any()  # each has five that are equal


def test_features_that_do_not_vary_or_lie_far_from_zero_change_no_distance():
    draw = np.random.default_rng(8)
    rows, reference = draw.normal(size=(7, 3)), draw.normal(size=(90, 3))
    beside = (np.concatenate([one, np.full((len(one), 1), 0.1)], axis=1) for one in (rows, reference))
    assert nearest_distances(*beside) == pytest.approx(nearest_distances(rows, reference))
    assert nearest_distances(rows + 1e6, reference + 1e6) == pytest.approx(nearest_distances(rows, reference), rel=1e-4)


def test_what_depends_on_the_place_of_a_row_does_not_depend_on_its_sample():
    order = mingled(200, 40)
    placed = np.empty(240)
    placed[order] = np.arange(240.0)
    assert distances(placed[:200, None], placed[200:, None]).overall > 0.05


def test_false_discoveries_are_few_with_one_calibration_for_all():
    draw, rate, shares = np.random.default_rng(5), 0.2, []
    for _ in range(300):
        scores = np.concatenate([draw.normal(size=20), draw.normal(4, 1, 5)])
        found = discoveries(conformal_p_values(draw.normal(size=60), scores), rate)
        shares.append(sum(found[:20]) / max(1, sum(found)))
    assert np.mean(shares) <= rate + 3 * np.std(shares) / np.sqrt(300)
    for p_values in ([0.01, 0.5, 0.03, 0.04], draw.uniform(0, 0.3, 30).tolist()):
        expected = stats.false_discovery_control(p_values) <= 0.1
        assert discoveries(p_values, 0.1) == tuple(expected)
    assert discoveries([], 0.1) == ()


def test_what_is_no_sample_is_refused():
    rows = np.zeros((4, 2))
    for old, new in [(rows, np.zeros((4, 3))), (rows, np.zeros((0, 2))), (rows, np.full((4, 2), np.nan))]:
        with pytest.raises(BadInput):
            distances(old, new)
    with pytest.raises(BadInput):
        classifier_test(rows[:3], rows)
    with pytest.raises(BadInput):
        conformal_p_values(np.array([]), np.array([1.0]))
    with pytest.raises(BadInput):
        discoveries([1.5], 0.1)
