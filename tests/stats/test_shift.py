"""Bounds under shift against linear programmes and brute force on small supports, at the ends, and in simulations."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import optimize, stats

from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_lower
from certify.stats.shift import (
    MEASURES,
    largest_move,
    least_mix,
    least_mix_near,
    share_intervals,
    weighted_lower,
)

P = np.array([0.05, 0.1, 0.15, 0.2, 0.5])
SUBSETS = [np.array([bool(code >> place & 1) for place in range(5)]) for code in range(32)]


def least_by_programme(good: np.ndarray, rows: list, bounds: list, total: np.ndarray | None = None) -> float:
    """The least Q(good) over distributions Q within linear constraints."""
    a, b = zip(*rows, strict=True) if rows else ([], [])
    width = len(a[0]) if rows else 5
    cost = np.concatenate([good.astype(float), np.zeros(width - 5)])
    whole = np.concatenate([np.ones(5), np.zeros(width - 5)])[None]
    found = optimize.linprog(
        cost, A_ub=np.array(a) if rows else None, b_ub=b or None, A_eq=whole, b_eq=[1], bounds=bounds, method="highs"
    )
    assert found.success
    return float(found.fun)


def programme(measure: str, good: np.ndarray, amount: float) -> float:
    """The least Q(good) where the constraints are linear."""
    if measure == "density_ratio":
        return least_by_programme(good, [], [(0, amount * p) for p in P])
    rows = [(np.concatenate([np.zeros(5), np.ones(5)]), 2 * amount)]  # t_x >= |q_x - p_x|, sum t / 2 <= amount
    for place in range(5):
        unit = np.eye(5)[place]
        rows += [(np.concatenate([sign * unit, -unit]), sign * P[place]) for sign in (1, -1)]
    return least_by_programme(good, rows, [(0, 1)] * 5 + [(0, 2)] * 5)


@pytest.mark.parametrize("measure", ["total_variation", "density_ratio"])
def test_a_closed_form_is_the_optimum_of_a_linear_programme_over_distributions(measure):
    for good in SUBSETS[:-1]:  # of all five points, nothing outside of them could be the event
        for amount in (MEASURES[measure].amounts[3], MEASURES[measure].amounts[6]):
            assert programme(measure, good, amount) == pytest.approx(
                MEASURES[measure].after(math.fsum(P[good]), amount), abs=1e-9
            )


@pytest.mark.parametrize("measure", MEASURES)
def test_no_distribution_on_three_points_is_below_the_bound_and_one_is_almost_there(measure):
    three, step = np.array([0.15, 0.25, 0.6]), 1 / 600
    one, other = np.meshgrid(np.arange(0, 1 + step / 2, step), np.arange(0, 1 + step / 2, step))
    q = np.stack([one.ravel(), other.ravel(), 1 - one.ravel() - other.ravel()], axis=1)
    q = np.maximum(q[q[:, 2] > -1e-9], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = {
            "total_variation": np.abs(q - three).sum(axis=1) / 2,
            "density_ratio": (q / three).max(axis=1),
            "kl": np.where(q > 0, q * np.log(q / three), 0).sum(axis=1),
            "chi2": ((q - three) ** 2 / three).sum(axis=1),
        }[measure]
    for good in ([0], [1], [2], [0, 1], [1, 2], [0, 2]):
        for amount in MEASURES[measure].amounts[2:]:
            bound = MEASURES[measure].after(math.fsum(three[good]), amount)
            least = q[far <= amount][:, good].sum(axis=1).min()
            assert bound - 1e-9 <= least <= bound + 3 * step + 0.01


def divergence(measure: str, s: mpmath.mpf, p: mpmath.mpf) -> mpmath.mpf:
    """Of two coins."""
    parts = [(s, p), (1 - s, 1 - p)]
    if measure == "kl":
        return sum((a * mpmath.log(a / b) for a, b in parts if a), mpmath.mpf(0))
    if measure == "chi2":
        return sum((a - b) ** 2 / b for a, b in parts)
    return max(a / b for a, b in parts) if measure == "density_ratio" else abs(s - p)


@pytest.mark.parametrize("measure", MEASURES)
def test_bounds_and_largest_shifts_are_never_on_the_wrong_side_and_hardly_off(measure):
    one, draw = MEASURES[measure], np.random.default_rng(3)
    accuracies = [*draw.uniform(0, 1, 40), *(1 - 10 ** draw.uniform(-15, -1, 20)), *(10 ** draw.uniform(-15, -1, 20))]
    with mpmath.workdps(60):
        for p in map(float, accuracies):
            for amount in (one.least + float(10 ** draw.uniform(-9, -0.3)), one.least + float(draw.uniform(0, 1))):
                s, exact = one.after(p, amount), mpmath.mpf(p)
                if s > 0:  # at the bound, the amount is spent
                    assert divergence(measure, mpmath.mpf(s), exact) >= amount
                    assert divergence(measure, s + mpmath.mpf(1e-13) * (1 - s + s), exact) <= amount or p - s < 1e-12
                elif amount < one.most:  # less than nothing cannot be: all of the accuracy may go
                    assert divergence(measure, mpmath.mpf(0), exact) <= amount * (1 + 1e-12)
            threshold = float(draw.uniform(0, 1)) * p
            found = one.largest(p, threshold)
            assert found is not None
            assert found <= divergence(measure, mpmath.mpf(threshold), exact)
            assert found >= divergence(measure, mpmath.mpf(threshold), exact) * (1 - mpmath.mpf(1e-15)) - 1e-300
            assert one.largest(p, math.nextafter(p, 2)) is None or p == 1


@pytest.mark.parametrize("measure", MEASURES)
def test_bounds_grow_with_the_accuracy_and_fall_with_the_shift(measure):
    one = MEASURES[measure]
    p, amounts = np.linspace(0, 1, 101), [one.least + step for step in (0.0, 1e-12, 0.001, 0.01, 0.3, 0.9, 1.0)]
    table = np.array([[one.after(float(accuracy), amount) for amount in amounts] for accuracy in p])
    assert (np.diff(table, axis=0) >= 0).all()
    assert (np.diff(table, axis=1) <= 0).all()
    assert (table[:, 0] == p).all()  # no shift, no loss
    assert (table >= 0).all()
    assert table[0].max() == 0
    sure = {"total_variation": [1 - amount for amount in amounts]}.get(measure, [1.0] * 7)
    assert table[-1] == pytest.approx(sure)  # what P never does, only total variation lets Q do


def test_ends_and_what_is_no_amount():
    ratio, kl, chi2, tv = (MEASURES[name] for name in ("density_ratio", "kl", "chi2", "total_variation"))
    assert tv.after(0.3, 1.0) == 0
    assert tv.largest(1.0, 0.25) == 0.75
    assert tv.largest(1.0, 1.0) == 0.0
    for one in (ratio, kl, chi2):
        assert one.largest(1.0, 1.0) == math.inf
        assert one.largest(0.5, 0.5) == one.least
    assert chi2.after(0.001, 0.1) == 0  # the textbook formula without its cap would be positive here, and wrong
    assert chi2.after(0.5, 1e300) == 0
    assert kl.after(0.5, 1e300) == 0
    assert ratio.after(0.999, 1e300) == 0
    for one in MEASURES.values():
        for bad in (-0.1, math.nan, math.inf, "0.1", None, True):
            with pytest.raises(BadInput, match="shift in"):
                one.amount(bad)
        for bad in (-0.1, 1.1, math.nan):
            with pytest.raises(BadInput, match="accuracy"):
                one.after(bad, one.least)
            with pytest.raises(BadInput, match="threshold"):
                one.largest(0.5, bad)
    with pytest.raises(BadInput, match="between 0 and 1, got 1.01"):
        tv.amount(1.01)
    with pytest.raises(BadInput, match="at least 1, got 0.5"):
        ratio.amount(0.5)


def test_mixtures_of_groups_are_the_optimum_of_a_linear_programme():
    draw = np.random.default_rng(0)
    for _ in range(40):
        lowers = dict(enumerate(map(float, draw.uniform(0, 1, 4))))
        shares = draw.dirichlet(np.ones(4))
        low, high = np.maximum(0, shares - draw.uniform(0, 0.3, 4)), np.minimum(1, shares + draw.uniform(0, 0.3, 4))
        cost = np.array(list(lowers.values()))
        found = optimize.linprog(cost, A_eq=np.ones((1, 4)), b_eq=[1], bounds=list(zip(low, high, strict=True)))
        ends = [{group: Fraction(float(end[group])) for group in lowers} for end in (low, high)]
        assert least_mix(lowers, *ends) == pytest.approx(found.fun, abs=1e-9)
        exact = {group: Fraction(float(shares[group])) for group in lowers}
        exact[3] = 1 - sum(exact[group] for group in range(3))
        for amount in (0.0, 0.1, 0.4, 1.0):
            rows = [np.concatenate([np.zeros(4), np.ones(4)])]
            limits = [2 * amount]
            for place in range(4):
                unit = np.eye(4)[place]
                rows += [np.concatenate([sign * unit, -unit]) for sign in (1, -1)]
                limits += [sign * shares[place] for sign in (1, -1)]
            whole = np.concatenate([np.ones(4), np.zeros(4)])[None]
            both = np.concatenate([cost, np.zeros(4)])
            found = optimize.linprog(both, A_ub=np.array(rows), b_ub=limits, A_eq=whole, b_eq=[1])
            assert least_mix_near(lowers, exact, amount) == pytest.approx(found.fun, abs=1e-9)
        for threshold in (0.2, 0.4, 0.6):
            largest = largest_move(lowers, exact, threshold)
            if largest is None:
                assert least_mix_near(lowers, exact, 0.0) < threshold
                continue
            assert least_mix_near(lowers, exact, largest) >= threshold - 1e-12
            assert largest == 1 or least_mix_near(lowers, exact, min(1.0, largest + 1e-6)) < threshold
    with pytest.raises(BadInput, match="add up to 1"):
        least_mix({"a": 0.5}, {"a": Fraction(0)}, {"a": Fraction(1, 2)})


def test_intervals_of_shares_fail_together_at_most_at_delta():
    draw, truth, failures = np.random.default_rng(0), np.array([0.7, 0.2, 0.1, 0.0]), 0
    for counts in draw.multinomial(60, truth, 400):
        found = share_intervals(dict(enumerate(counts.tolist())), 0.2)
        failures += any(not found[group][0] <= truth[group] <= found[group][1] for group in range(4))
    assert stats.binomtest(failures, 400, 0.2, alternative="greater").pvalue > 0.001
    assert failures > 0
    with pytest.raises(BadInput, match="at least one input"):
        share_intervals({"a": 0}, 0.05)


@pytest.mark.parametrize("weight", ["equal", "exponential", "heavy"])
def test_a_weighted_mean_is_too_high_at_most_at_delta(weight):
    draw, failures, delta, runs = np.random.default_rng(1), 0, 0.2, 400
    for _ in range(runs):
        heavy = np.where(draw.random(80) < 0.1, 10.0, 0.0)
        weights = {"equal": np.ones(80), "exponential": draw.exponential(size=80), "heavy": heavy}[weight]
        failures += weighted_lower(weights * (draw.random(80) < 0.7), delta) > 0.7
    assert stats.binomtest(failures, runs, delta, alternative="greater").pvalue > 0.001
    assert weight == "heavy" or failures > 0


def test_a_weighted_mean_loses_little_where_all_weights_are_one_and_does_not_depend_on_the_batch():
    values = [1.0] * 800 + [0.0] * 200
    assert clopper_pearson_lower(800, 1000, 0.05) - 0.02 < weighted_lower(values, 0.05) < 0.8
    assert weighted_lower(np.array(values), 0.05) == weighted_lower(values, 0.05)
    assert weighted_lower([0.0] * 10, 0.05) == 0
    assert weighted_lower([1e-300, 0.0], 0.05) <= 1e-300
    for bad in ([], [math.nan], [math.inf], [-1.0], [[1.0]]):
        with pytest.raises(BadInput, match="at least one value"):
            weighted_lower(bad, 0.05)
