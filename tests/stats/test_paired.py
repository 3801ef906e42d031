"""Release comparison: published intervals, the likelihood maximised numerically, exact error and power."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from scipy import optimize, stats

from certify.errors import BadInput
from certify.stats.paired import PairedCounts, _tango_lower, _tango_score, exact_test, mcnemar_p_value, tango_test
from certify.stats.unconditional import OutcomeSet, largest_chance


def table(b: int, c: int, n: int) -> PairedCounts:
    return PairedCounts(n11=n - b - c, n10=c, n01=b, n00=0)


def test_tango_agrees_with_published_intervals():
    # R, contingencytables 3.0.0: Tango_asymptotic_score_CI_paired_2x2(cavo_2012), 95 %: -0.1240 to -0.0054
    cavo = PairedCounts(n11=59, n10=16, n01=6, n00=80)
    turned = PairedCounts(n11=59, n10=6, n01=16, n00=80)  # the models swapped: minus the upper limit
    for counts, published in ((cavo, -0.1240), (turned, 0.0054)):
        assert _tango_lower(counts, 0.025) == pytest.approx(published, abs=5e-5)
        assert published - 0.005 < tango_test(counts, 0.02, 0.025).lower < published  # the exact one gives up a little


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 30), (3, 0, 30), (0, 3, 30), (5, 9, 40), (12, 8, 500), (10, 20, 30)])
@pytest.mark.parametrize("difference", [-0.6, -0.1, -0.02, 0.05, 0.4])
def test_the_score_uses_the_restricted_maximum_of_the_likelihood(b, c, n, difference):
    def loss(q):
        logs = ((b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference))
        return -sum(count * np.log(max(p, 1e-300)) for count, p in logs if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    q = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    reference = (b - c - n * difference) / np.sqrt(n * (2 * q + difference * (1 - difference)))
    assert _tango_score(table(b, c, n), difference) == pytest.approx(reference, rel=1e-5, abs=1e-5)


def test_at_equality_the_score_is_mcnemars_without_continuity_correction():
    assert _tango_score(table(12, 5, 100), 0.0) == pytest.approx(7 / np.sqrt(17))


@pytest.mark.parametrize("test", [tango_test, exact_test])
def test_the_limit_and_the_p_value_are_one_test(test):
    for n in (1, 2, 6, 60):
        for b in range(0, n + 1, max(1, n // 3)):
            for c in range(0, n - b + 1, max(1, n // 3)):
                for margin in (0.02, 0.2, 0.7):
                    result = test(table(b, c, n), margin)
                    assert -1 <= result.lower <= result.counts.difference
                    assert 0 <= result.p_value <= 1
                    assert result.passed == (result.lower > -margin)
                    if test is exact_test and abs(result.lower + margin) > 1e-9:
                        assert result.passed == (result.p_value <= 0.05)
                    elif not result.passed:  # bounds of one probability, each with a little to spare
                        assert result.p_value > 0.05 * 0.85


def outcomes(n: int, old_alone: float, new_alone: float, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """P[n01 = b, n10 = c], exactly."""
    return stats.binom.pmf(c, n, old_alone) * stats.binom.pmf(b, n - c, min(1.0, new_alone / (1 - old_alone)))


@pytest.mark.parametrize("n", [1, 5, 14])
@pytest.mark.parametrize("margin", [0.1, 0.4])
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_the_exact_test_passes_a_worse_model_with_probability_at_most_its_level(n, margin, level):
    cells = np.array([(b, c) for b in range(n + 1) for c in range(n - b + 1)])
    results = [exact_test(table(int(b), int(c), n), margin, level) for b, c in cells]
    passed = np.array([result.passed for result in results])
    lower = np.array([result.lower for result in results])
    for new_alone in np.linspace(0, 1, 41):
        for old_alone in np.linspace(0, 1 - new_alone, 41):
            if old_alone == 1:
                continue
            chance = outcomes(n, old_alone, new_alone, cells[:, 0], cells[:, 1])
            assert chance @ (lower > new_alone - old_alone + 1e-12) <= level
            if old_alone - new_alone >= margin:
                assert chance @ passed <= level


@pytest.mark.parametrize(("n", "level"), [(4, 0.05), (7, 0.1), (8, 0.025)])
def test_no_limit_of_tangos_order_is_too_high_with_more_than_its_level_anywhere(n, level):
    """Between two limits nothing changes but the chance, which grows up to the next: each limit stands for all below.

    At every discordance there is, not at points of a grid.
    """
    cells = [(b, c) for b in range(n + 1) for c in range(n - b + 1)]
    limits = {cell: tango_test(table(*cell, n), 0.5, level).lower for cell in cells}
    worst = approximate = 0.0
    for limit in sorted(set(limits.values()) - {-1.0}):
        above = [max([-1, *(c for c in range(n - b + 1) if limits[b, c] >= limit)]) for b in range(n + 1)]
        better = OutcomeSet(np.maximum.accumulate(above))
        worst = max(worst, largest_chance(better, limit, (0.0, 1.0), level, intervals=2**14))
        rough = [(b, c) for b, c in cells if _tango_lower(table(b, c, n), level) >= limit]
        at_one = np.array([[b, c] for b, c in rough if b + c == n])
        if len(at_one):
            chance = outcomes(n, (1 - limit) / 2, (1 + limit) / 2, at_one[:, 0], at_one[:, 1]).sum()
            approximate = max(approximate, chance)
    assert 0.8 * level < worst <= level
    assert approximate > level  # what the score alone would do


def test_the_largest_chance_is_above_every_exact_sum():
    inside = OutcomeSet(np.minimum(np.arange(13) * 2 - 3, 12).clip(min=-1))
    cells = np.array([(b, c) for b in range(13) for c in range(13 - b) if c <= inside.most[b]])
    for difference in (-0.6, -0.1, 0.0, 0.3):
        psi = np.linspace(abs(difference), 1, 400)
        p01, p10 = (psi + difference)[:-1] / 2, (psi - difference)[:-1] / 2
        exact = [outcomes(12, *point, cells[:, 0], cells[:, 1]).sum() for point in zip(p10, p01, strict=True)]
        assert inside.chance(p01, p10) == pytest.approx(exact, abs=1e-12)
        bound = largest_chance(inside, difference, (0.0, 1.0))
        assert max(exact) <= bound <= 1.03 * max(exact) + 1e-3


def chance_to_pass(test, n: int, margin: float, discordance: float) -> float:
    """Where both models are certified equally often."""
    middle = n * discordance / 2
    few = range(int(middle + 6 * middle**0.5 + 6))
    lost = [bisect_left(few, True, key=lambda c, b=b: not test(table(b, c, n), margin).passed) for b in few]
    few = np.array(few)
    passed = few[None, :] < np.array(lost)[:, None]
    return float((outcomes(n, discordance / 2, discordance / 2, few[:, None], few[None, :]) * passed).sum())


def test_tangos_order_finds_more_at_the_same_guarantee():
    tango, exact = (chance_to_pass(test, 40, 0.1, 0.05) for test in (tango_test, exact_test))
    assert (tango, exact) == (pytest.approx(0.615, abs=0.005), pytest.approx(0.308, abs=0.15))


def test_ten_thousand_pairs_take_no_longer_than_a_reader_waits():
    counts = table(200, 150, 10_000)
    rough = _tango_lower(counts, 0.025)
    assert rough - 3e-4 < tango_test(counts, 0.02, 0.025).lower < rough


def test_passing_is_monotone_in_both_counts():
    for test in (tango_test, exact_test):
        p_values = np.array([[test(table(b, c, 40), 0.1).p_value for c in range(0, 15, 5)] for b in range(0, 15, 5)])
        spare = 0.03 if test is tango_test else 1e-12  # bounds of chances, each with a little to spare
        assert (np.diff(p_values, axis=0) <= spare).all()
        assert (np.diff(p_values, axis=1) >= -spare).all()


def test_mcnemar_is_the_sign_test_of_the_discordant_inputs():
    for b, c in [(0, 0), (0, 5), (3, 12), (12, 3), (7, 7)]:
        expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
        assert mcnemar_p_value(PairedCounts(10, c, b, 4)) == pytest.approx(expected)


def test_outcomes_are_counted_per_input():
    old, new = np.array([True, True, False, False, True]), np.array([True, False, True, False, True])
    assert PairedCounts.of(old, new) == PairedCounts(n11=2, n10=1, n01=1, n00=1)
    assert PairedCounts.of(old.tolist(), (~old).tolist()).difference == -0.2


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: PairedCounts(0, 0, 0, 0), "impossible counts"),
        (lambda: PairedCounts(5, -1, 0, 0), "impossible counts"),
        (lambda: PairedCounts.of([], []), "impossible counts"),
        (lambda: PairedCounts.of([True], [True, False]), "1 old outcomes and 2 new"),
        (lambda: PairedCounts.of([True], [float("nan")]), "certified or not, got nan"),
        (lambda: tango_test(table(1, 1, 5), 0.0), "margin"),
        (lambda: tango_test(table(1, 1, 5), 2.0), "margin"),
        (lambda: exact_test(table(1, 1, 5), 0.1, 0.6), "level"),
        (lambda: exact_test(table(1, 1, 5), 0.1, float("nan")), "level"),
    ],
)
def test_bad_input_is_one_line(call, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [(1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (3, 1, 1, 0)])
@pytest.mark.parametrize("margin", [5e-324, 1e-300, 1e-12, 1 - 1e-12, 1 - 2**-53])
def test_margins_next_to_nothing_and_to_everything_have_an_answer(counts, margin):
    for test in (exact_test, tango_test):
        result = test(PairedCounts(*counts), margin)
        assert 0 <= result.p_value <= 1
        assert result.passed == (margin > 0.9 and counts[1] < sum(counts))
    if counts[1:3] == (0, 0):
        # Nothing is discordant: the score is sqrt(n m / (1 - m)).
        assert tango_test(PairedCounts(*counts), margin).statistic == pytest.approx(
            (margin / (1 - margin)) ** 0.5, rel=1e-3
        )
