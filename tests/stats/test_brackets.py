"""Bands, quantiles and tests that hold for every number within the brackets: by enumeration, and by simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from certify.errors import BadInput
from certify.stats.binomial import sign_test
from certify.stats.brackets import Brackets, kolmogorov_smirnov, population_ranks, sample_rank, signs


def around(values: np.ndarray, rng: np.random.Generator) -> Brackets:
    """Brackets of every kind around numbers: narrow, wide, without a lower or an upper end, exact."""
    lower, upper = values * rng.uniform(0.3, 1, values.shape), values * rng.uniform(1, 2, values.shape)
    kind = rng.integers(0, 5, values.shape)
    lower, upper = np.where(kind == 0, 0.0, lower), np.where(kind == 1, np.inf, upper)
    return Brackets(np.where(kind == 2, values, lower), np.where(kind == 2, values, upper))


@pytest.mark.parametrize("n", [1, 3, 20, 100])
def test_the_empirical_distribution_lies_between_the_two_functions(n):
    rng = np.random.default_rng(n)
    values = np.where(rng.uniform(size=n) < 0.2, 0.0, rng.lognormal(-2, 1, n))
    brackets = around(values, rng)
    found = brackets.distribution()
    for place, lower, upper in zip(found.at, found.lower, found.upper, strict=True):
        assert lower <= np.mean(values <= place) <= upper
        assert lower == np.mean(brackets.upper <= place)  # as close as the brackets allow
        assert upper == np.mean(brackets.lower <= place)
    for share in (0.01, 0.05, 0.5, 0.75, 0.99):
        low, high = brackets.quantile(share)
        assert low <= np.sort(values)[sample_rank(share, n) - 1] <= high


def covers(brackets: Brackets, law, delta: float) -> bool:
    """Whether the band holds a continuous law everywhere, looked at on both sides of every step."""
    band = brackets.band(delta)
    after = law(np.append(band.at[1:], np.inf))  # the law is largest just before the next step
    return bool((band.lower <= law(band.at)).all() and (after <= band.upper).all())


def test_the_band_covers_the_population_and_a_narrower_one_does_not():
    rng, n, delta, runs = np.random.default_rng(1), 30, 0.2, 500
    law = stats.lognorm(1, scale=0.1).cdf
    exact = kept = reversed_edges = 0
    for _ in range(runs):
        values = rng.lognormal(np.log(0.1), 1, n)
        brackets = around(values, rng)
        exact += covers(Brackets(values, values), law, delta)
        kept += covers(brackets, law, delta)
        # a band that hangs its lower edge on the lower ends, and its upper edge on the upper ones
        swapped = Brackets(np.minimum(brackets.upper, 1e9), np.minimum(brackets.upper, 1e9))
        reversed_edges += covers(swapped, law, delta)
    assert 1 - delta <= exact / runs <= 1 - delta + 0.12  # finite-sample, and not much given away
    assert kept / runs >= 1 - delta
    assert reversed_edges / runs < 0.3  # what the test would see of a wrong band


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
@pytest.mark.parametrize("n", [1, 5, 20, 101])
def test_quantiles_of_the_population_are_missed_with_probability_at_most_delta(n, share):
    for delta in (0.01, 0.05, 0.3):
        low, high = population_ranks(share, n, delta)
        below = stats.binom.cdf(low - 1, n, share) if low else 0.0  # P[the low-th smallest lies above the quantile]
        above = stats.binom.sf(high - 1, n, share) if high <= n else 0.0
        assert below <= delta / 2 * (1 + 1e-12)
        assert above <= delta / 2 * (1 + 1e-12)
        assert stats.binom.cdf(low, n, share) > delta / 2  # the next rank would be missed too often
        assert high == 1 or stats.binom.sf(high - 2, n, share) > delta / 2


def test_quantile_intervals_of_brackets_cover():
    rng, n, missed = np.random.default_rng(2), 40, 0
    for _ in range(400):
        low, high = around(rng.lognormal(0, 1, n), rng).population_quantile(0.5, 0.1)
        missed += not low <= 1.0 <= high
    assert missed <= 0.1 * 400
    assert Brackets(np.zeros(2), np.ones(2)).population_quantile(0.5, 0.05) == (0.0, np.inf)


ENDS = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ENDS, ENDS), min_size=1, max_size=4))
def test_the_ends_of_the_sign_test_are_those_over_all_numbers_within(pairs):
    ones, others = (Brackets(*np.array(side, dtype=float).T) for side in zip(*pairs, strict=True))
    found = signs(ones, others)
    inside = [
        {np.sign(2 * a - 2 * b + h) for a in range(i, j + 1) for b in range(k, m + 1) for h in halves(i, j, k, m)}
        for (i, j), (k, m) in pairs
    ]
    p_values = []
    for chosen in product(*inside):
        first, second = chosen.count(1), chosen.count(-1)
        p_values.append(sign_test(first, first + second) if first + second else 1.0)
    assert (found.p_lower, found.p_upper) == (min(p_values), max(p_values))
    assert found.first + found.second + found.equal + found.open == len(pairs)


def halves(i: int, j: int, k: int, m: int) -> tuple[int, ...]:
    """Numbers between the whole ones: none where both brackets are points."""
    return (0, 1, -1) if i < j and k < m and i < m and k < j and not (i == m or j == k) else (0,)


def test_kolmogorov_smirnov_holds_for_every_number_within():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.5, 2.0):
        one, other = rng.lognormal(0, 1, 15), rng.lognormal(shift, 1, 25)
        brackets = around(one, rng), around(other, rng)
        least, most = kolmogorov_smirnov(*brackets)
        exact = kolmogorov_smirnov(Brackets(one, one), Brackets(other, other))
        sides = [stats.ks_2samp(one, other, alternative=side).pvalue for side in ("less", "greater")]
        assert exact == (min(1.0, 2 * min(sides)),) * 2
        for _ in range(20):
            inside = [rng.uniform(b.lower, np.minimum(b.upper, 50.0 + b.lower)) for b in brackets]
            p_value, _ = kolmogorov_smirnov(*(Brackets(values, values) for values in inside))
            assert least <= p_value <= most
        assert kolmogorov_smirnov(*brackets[::-1]) == (least, most)


def test_wrong_models_are_found_to_differ_as_often_as_stated():
    rng, marked = np.random.default_rng(4), 0
    for _ in range(300):  # the same law: a test at 0.1
        marked += kolmogorov_smirnov(*(around(rng.lognormal(0, 1, 20), rng) for _ in range(2)))[1] <= 0.1
    assert marked <= 30
    x = rng.lognormal(0, 1, 40)
    assert kolmogorov_smirnov(Brackets(x, x), Brackets(4 * x, 4.1 * x))[1] < 0.01


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [([], [], "a lower and an upper end"), ([0.2], [0.1], "no number lies there"), ([np.nan], [1], "no number"),
     ([np.inf], [np.inf], "no number"), ([-1], [1], "no number"), ([0, 0], [1], "each")],
)  # fmt: skip
def test_what_is_no_bracket_is_refused(lower, upper, words):
    with pytest.raises(BadInput, match=words):
        Brackets(np.array(lower, dtype=float), np.array(upper, dtype=float))
    with pytest.raises(BadInput, match="join them by input"):
        signs(Brackets(np.zeros(1), np.ones(1)), Brackets(np.zeros(2), np.ones(2)))
    with pytest.raises(BadInput, match="share strictly between"):
        population_ranks(1.0, 5, 0.05)
