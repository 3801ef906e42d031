"""Nonconformity scores: their bounds hold in exact arithmetic, and grow in every lead."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from certify.sets.scores import SCORES, leads


def exact(name: str, values: list[float]) -> mpmath.mpf:
    if name == "margin":
        return mpmath.mpf(max(values))
    return mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(value)) for value in values))


@pytest.mark.parametrize("name", list(SCORES))
def test_both_ends_enclose_the_exact_score(name):
    score, generator = SCORES[name](), np.random.default_rng(0)
    with mpmath.workdps(60):
        for trial in range(150):
            scale = 10.0 ** generator.uniform(-9, 4)
            values = generator.normal(size=generator.integers(1, 40)) * scale
            found = torch.tensor(values)
            low, high = float(score.lowest(found)), float(score.highest(found))
            true = exact(name, values.tolist())
            assert mpmath.mpf(low) <= true <= mpmath.mpf(high), trial
            assert high - low <= 1e-12 * (1 + abs(high))


@pytest.mark.parametrize("name", list(SCORES))
def test_a_score_grows_in_every_lead(name):
    score, generator = SCORES[name](), torch.Generator().manual_seed(0)
    values = torch.randn(500, 6, generator=generator, dtype=torch.float64)
    more = values + torch.rand(500, 6, generator=generator, dtype=torch.float64)
    assert bool((score.lowest(values) <= score.highest(more)).all())
    assert bool((score.of(values) <= score.of(more)).all())


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf])
def test_where_a_bound_says_nothing_a_score_says_nothing(name, unknown):
    score, values = SCORES[name](), torch.tensor([0.0, unknown], dtype=torch.float64)
    assert float(score.lowest(values)) == -np.inf
    assert float(score.highest(values)) == np.inf


def test_the_log_odds_are_those_of_the_softmax_and_do_not_saturate():
    scores = torch.tensor([[2.0, 0.5, -1.0], [800.0, 0.0, 0.0]], dtype=torch.float64)
    found = SCORES["lac"]().of(leads(scores))
    p = scores.softmax(1)
    assert torch.allclose(found[0], ((1 - p[0]) / p[0]).log())
    assert found[1].tolist() == pytest.approx([-800 + np.log(2), 800.0, 800.0])
