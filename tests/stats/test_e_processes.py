"""E-processes: exact expectations, Ville's inequality by simulation, and what rounding may do."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_lower
from certify.stats.e_processes import (
    RISES,
    ROUNDING,
    SLOPES,
    Capital,
    log_threshold,
    rank_factors,
    risk_factors,
    smoothed_p,
    uniform,
)


@pytest.mark.parametrize("tolerance", [1e-9, 0.03, 1 / 3, 0.999])
def test_no_bet_expects_to_win_at_the_tolerance_or_below(tolerance):
    for risk in (0.0, tolerance / 2, tolerance):
        expected = risk * risk_factors(1.0, tolerance) + (1 - risk) * risk_factors(0.0, tolerance)
        assert (expected <= 1 + 1e-15).all()
    spread = [(0.0, 0.5), (0.2, 0.8), (0.0, 1.0)]  # other losses of that mean
    for low, high in spread:
        share = (tolerance - low) / (high - low)
        if 0 <= share <= 1:
            mean = share * risk_factors(high, tolerance) + (1 - share) * risk_factors(low, tolerance)
            assert mean == pytest.approx(np.ones(len(RISES)))
    assert (risk_factors([0.0, 1.0], tolerance) >= 0).all()


def test_the_capital_of_a_fair_game_has_expectation_one():
    """All 2^10 sequences of losses at a risk of 1/4, weighed by their probabilities: exactly a martingale."""
    sequences = (np.arange(2**10)[:, None] >> np.arange(10)) & 1
    capital = Capital.of(len(RISES), (2**10,))
    for step in range(10):
        capital = capital.after(risk_factors(sequences[:, step], 0.25))
    weights = 0.25 ** sequences.sum(1) * 0.75 ** (10 - sequences.sum(1))
    assert float(weights @ np.exp(capital.log_e)) == pytest.approx(1, abs=1e-12)


def test_slopes_are_densities():
    p = (np.arange(1000) + 0.5) / 1000
    assert rank_factors(p).mean(axis=0) == pytest.approx(np.ones(len(SLOPES)), abs=1e-12)
    assert (rank_factors([0.0, 1.0]) >= 0).all()


def test_smoothed_ranks_are_uniform():
    """Of nine scores seen, ties included, the new one is each of the ten with the same probability."""
    scores, theta = [0, 0, 1, 1, 1, 2, 3, 3, 3, 4], (np.arange(64) + 0.5) / 64
    found = []
    for place, score in enumerate(scores):
        seen = np.array(scores[:place] + scores[place + 1 :])
        found.append(smoothed_p((seen < score).sum(), (seen == score).sum(), 9, theta))
    values = np.sort(np.concatenate(found))
    assert values == pytest.approx((np.arange(640) + 0.5) / 640, abs=1 / 100)


def test_false_alarms_are_as_rare_as_stated_over_whole_lives():
    generator, lives, alpha = np.random.default_rng(0), 2000, 0.1
    risk, ranks = Capital.of(len(RISES), (lives,)), Capital.of(len(SLOPES), (lives,))
    alarmed = np.zeros((2, lives), bool)
    for step in range(1, 301):
        risk = risk.after(risk_factors(generator.random(lives) < 0.2, 0.2))
        ranks = ranks.after(rank_factors(generator.random(lives)))
        alarmed |= np.stack([risk.log_e, ranks.log_e]) > log_threshold(alpha, step)
    for count in alarmed.sum(axis=1):
        assert clopper_pearson_lower(int(count), lives, 1e-6) <= alpha
        assert count > 0  # it is no idle watch


def test_a_change_is_seen_however_long_nothing_happened():
    capital = Capital.of(len(RISES))
    for place in range(3000):
        capital = capital.after(risk_factors(place % 100 == 0, 0.05))
    assert capital.log_e < 0
    steps = 0
    while capital.log_e <= log_threshold(0.05, capital.steps):
        capital, steps = capital.after(risk_factors(steps % 5 == 0, 0.05)), steps + 1
        assert steps < 300


def test_long_lives_neither_overflow_nor_vanish():
    for p, sign in ((0.0, 1), (0.5, 0)):
        capital = Capital.of(len(SLOPES))
        for _ in range(5000):
            capital = capital.after(rank_factors(p))
        assert math.isfinite(capital.log_e)
        assert (capital.log_e > 700) == bool(sign)
        assert capital.parts.sum() == pytest.approx(1)
    capital = Capital.of(len(RISES))
    for _ in range(5000):
        capital = capital.after(risk_factors(1, 1e-12))
    assert 1000 < capital.log_e < math.inf


def test_rounding_stays_within_what_an_alarm_adds():
    """The same life in exact fractions."""
    from certify.stats.e_processes import RATES

    capital = Capital.of(len(RISES))
    bets, rates = [Fraction(one) for one in RISES], [Fraction(one) for one in RATES]
    exact = [[Fraction(1, len(bets) * len(rates))] * len(bets) for _ in rates]
    tolerance, generator = 0.0731, np.random.default_rng(1)
    for loss in (generator.random(40) < 0.2).tolist():
        capital = capital.after(risk_factors(loss, tolerance))
        factors = [1 - bet + bet * loss / Fraction(tolerance) for bet in bets]
        exact = [
            [
                ((1 - rate) * part + rate * sum(parts) / len(bets)) * factor
                for part, factor in zip(parts, factors, strict=True)
            ]
            for rate, parts in zip(rates, exact, strict=True)
        ]
    whole = sum(map(sum, exact))
    # log of a fraction beyond float precision: ln(1 + x) of the ratio to the float's own exponential
    ratio = float(whole / Fraction(math.exp(float(capital.log_e)))) - 1
    assert abs(ratio) < ROUNDING * 41 + 1e-15


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1, math.nan])
def test_tolerances_that_are_no_risk_are_refused(tolerance):
    with pytest.raises(BadInput, match="strictly between 0 and 1"):
        risk_factors(0, tolerance)


@pytest.mark.parametrize("loss", [-0.1, 1.1, math.nan])
def test_losses_outside_their_range_are_refused(loss):
    with pytest.raises(BadInput, match="between 0 and 1"):
        risk_factors(loss, 0.5)
    with pytest.raises(BadInput, match="between 0 and 1"):
        rank_factors(loss)


def test_uniform_numbers_are_uniform_and_repeatable():
    drawn = np.array([uniform("run", place, "ab") for place in range(4000)])
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 400).max() < 100
    assert uniform("run", 3, "ab") == drawn[3]
