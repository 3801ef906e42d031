"""The log-normal law: the likelihood's maximum, a distance that a plain search finds too, and a test at its level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special, stats

from certify.stats import log_normal as module
from certify.stats.brackets import Brackets
from certify.stats.log_normal import LogNormal, log_normal


def fitted(lower, upper, seed=0) -> LogNormal:
    found = log_normal(Brackets(np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)), seed)
    assert isinstance(found, LogNormal)
    return found


def censored(rng, n):
    x = rng.lognormal(-3, 0.6, n)
    lower, upper = x * rng.uniform(0.5, 1, n), x * rng.uniform(1, 2, n)
    lower[::5], upper[1::5] = 0.0, np.inf
    return lower, upper


def test_the_fit_maximises_the_likelihood_of_the_intervals():
    lower, upper = censored(np.random.default_rng(0), 60)

    def unlikely(parameters):
        law = stats.lognorm(np.exp(parameters[1]), scale=np.exp(parameters[0]))
        return -np.log(law.cdf(upper) - law.cdf(lower)).sum()

    found, best = fitted(lower, upper), optimize.minimize(unlikely, (-3, -0.5), method="BFGS")
    assert (found.mu, np.log(found.sigma)) == pytest.approx(best.x, abs=1e-4)


def test_numbers_that_are_known_give_mean_and_deviation_of_their_logarithms():
    x = np.random.default_rng(1).lognormal(-2, 0.4, 50)
    found = fitted(x, x * (1 + 1e-7))
    assert (found.mu, found.sigma) == pytest.approx((np.log(x).mean(), np.log(x).std()), abs=1e-5)


def test_the_distance_is_the_smallest_of_any_law():
    x = np.sort(np.random.default_rng(2).normal(size=40))
    i = np.arange(1, 41)

    def far(parameters):
        law = special.ndtr(parameters[0] * x - parameters[1])
        return max((i / 40 - law).max(), (law - (i - 1) / 40).max())

    starts = [(a, b) for a in (0.7, 1, 1.3) for b in (-0.2, 0, 0.2)]
    searched = min(
        optimize.minimize(far, start, method="Nelder-Mead", options={"fatol": 1e-12}).fun for start in starts
    )
    assert module._distance(x, x) == pytest.approx(searched, abs=1e-6)
    assert module._distance(x, x) <= searched + 1e-9


def test_wider_brackets_can_only_make_the_law_fit_better():
    rng = np.random.default_rng(3)
    for values in (rng.lognormal(-3, 0.5, 60), rng.uniform(0.01, 0.3, 60)):
        p_values, distances = zip(
            *[(one.p_value, one.distance) for width in (0, 0.01, 0.1, 0.3)
              if (one := fitted(values * (1 - width), values * (1 + width) + 1e-12))], strict=True
        )  # fmt: skip
        assert list(p_values) == sorted(p_values)
        assert list(distances) == sorted(distances, reverse=True)


def test_the_test_has_its_level_and_a_plain_one_has_not():
    rng, n = np.random.default_rng(4), 25
    samples = rng.lognormal(-3, 0.7, (150, n))
    p_values = np.array([fitted(x, x * (1 + 1e-9)).p_value for x in samples])
    plain = np.array(
        [stats.kstest(np.log(x), stats.norm(np.log(x).mean(), np.log(x).std()).cdf).pvalue for x in samples]
    )
    assert 0.04 <= np.mean(p_values <= 0.1) <= 0.17
    assert np.mean(plain <= 0.1) <= 0.02  # fitted parameters, not allowed for: hardly any law is refused


def test_another_law_is_refused_and_the_same_seed_says_the_same():
    x = np.random.default_rng(5).uniform(0.01, 0.3, 200)
    assert fitted(x, 1.001 * x).p_value <= 0.01
    lower, upper = censored(np.random.default_rng(6), 40)
    assert fitted(lower, upper, seed=1) == fitted(lower, upper, seed=1)
    some = fitted(x[:40], 1.001 * x[:40])
    assert some.p_value != fitted(x[:40], 1.001 * x[:40], seed=1).p_value
    assert some.p_value == fitted(x[39::-1], 1.001 * x[39::-1]).p_value  # in any order


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        ([0.1] * 4, [0.2] * 4, "4 radii show no law"),
        ([0.1] * 6, [0.2] * 6, "one radius lies in all brackets"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [np.inf] * 5, "one radius lies in all brackets"),
        ([0, 0.2, 0.3, 0.4, 0.5], [0, 0.21, 0.31, 0.41, 0.51], "a radius of 0"),
        ([0, 0, 0, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, np.inf, np.inf, np.inf], "too wide to bound the spread"),
    ],
)
def test_no_fit_is_a_sentence(lower, upper, words):
    found = log_normal(Brackets(np.array(lower, dtype=float), np.array(upper, dtype=float)))
    assert isinstance(found, str)
    assert words in found
