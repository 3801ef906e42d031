"""False certificates against a model whose true smoothed radius is known in closed form.

For a linear classifier sign(w.x + b), Gaussian smoothing leaves the decision boundary where it is: the true l2 radius
of the smoothed classifier is |w.x + b| / ||w||, and the probability of the top class is Phi(that / sigma).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from certify.certifiers.smooth import smooth
from certify.core.threats.lp import ThreatModel
from certify.models.classifier import Classifier
from certify.stats.binomial import clopper_pearson_upper

W = np.array([3.0, -1.0, 2.0, 0.5])
SIGMA = 0.5


def inputs(m: int, distance: float) -> np.ndarray:
    """m different points at exactly this signed distance from the boundary w.x = 0."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(m, 4))
    x -= np.outer(x @ W, W) / (W @ W)
    return x + distance * W / np.linalg.norm(W)


def classifier() -> Classifier:
    weight = torch.tensor(W, dtype=torch.float32)
    return Classifier(lambda x: (x @ weight > 0).long(), num_classes=2, input_box=None)


@pytest.mark.parametrize("distance", [0.02, 0.3, 0.9])
def test_false_certificates_stay_within_the_binomial_law(distance):
    m, n, alpha = 1500, 100, 0.05
    x = inputs(m, distance)
    certificates = smooth(
        classifier(),
        x,
        [1] * m,
        threat=ThreatModel("l2", (0.0,)),
        sigma=SIGMA,
        n=n,
        n0=10,
        alpha=alpha,
        schedule="fixed",
        batch_size=110,
    )
    true = np.abs(x.astype(np.float32) @ W) / np.linalg.norm(W)
    right = np.array([c.prediction == 1 for c in certificates])
    radius = np.array([c.radius if c.radius is not None else -1.0 for c in certificates])
    # A certificate is false if its class is not the smoothed classifier's, or its radius passes the boundary.
    false = int(((radius > true) & right).sum() + ((radius >= 0) & ~right).sum())
    # The exact probability that the bound is wrong at this p, which is at most alpha by construction.
    p = stats.norm.cdf(distance / SIGMA)
    k = np.arange(n + 1)
    lower = 1 - np.array([clopper_pearson_upper(int(n - i), n, alpha) for i in k])
    exact = stats.binom.pmf(k, n, p)[lower > p].sum()
    assert exact <= alpha
    assert false <= stats.binom.ppf(1 - 1e-6, m, alpha)
    # The test has teeth: false certificates do occur, about as often as they may.
    assert false >= stats.binom.ppf(1e-4, m, exact * 0.9)


def test_radii_approach_the_true_one_from_below_as_samples_grow():
    x = inputs(20, 0.4)
    gaps = []
    for n in (100, 1000, 20_000):
        certificates = smooth(
            classifier(), x, [1] * 20, threat=ThreatModel("l2", (0.0,)), sigma=SIGMA, n=n, schedule="fixed"
        )
        radii = [c.radius for c in certificates if c.radius is not None]
        assert len(radii) >= 19
        gaps.append(0.4 - float(np.mean(radii)))
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.02


def test_abstention_is_the_answer_on_the_boundary():
    x = inputs(200, 0.0)
    certificates = smooth(classifier(), x, [1] * 200, threat=ThreatModel("l2", (0.0,)), sigma=SIGMA, n=500, alpha=0.001)
    assert sum(c.verdict.value == "abstain" for c in certificates) >= 198
    assert all(math.isclose(c.evidence.p_lower, 1 - c.evidence.q_upper) for c in certificates)
