"""Floating point breaks ordinary smoothing on a crafted model, and does not break it on the grid.

Where the input is not 0, the float32 sum of input and noise has no finer bits than the input's size allows; where it is
0, small noise keeps all its bits. A model that looks at the last bits therefore tells apart two inputs whose noisy
versions real-valued noise would make nearly alike (the failure that Voracek and Hein published in 2023).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from certify.certifiers.smooth import smooth
from certify.core.certificate import Certificate
from certify.core.norms import distance_up
from certify.core.threats.lp import ThreatModel
from certify.models.classifier import Classifier
from certify.smoothing.noise.base import NOISES
from certify.smoothing.sampler import Ballot, Sampler
from certify.stats.binomial import clopper_pearson_upper

SIGMA, N = 0.25, 1000
SHAPE = (3, 32, 32)
AT = torch.full(SHAPE, 1 / 255)
NEAR = torch.zeros(SHAPE)


def coarse(noisy: Tensor) -> Tensor:
    """Class 1 where every feature is a multiple of 2**-32.

    1/255 lies between 2**-8 and 2**-7, so float32 holds it as a multiple of 2**-31, and a sum with it as one of 2**-32.
    Noise below 2**-9 has steps of 2**-33 or finer, and about 0 it keeps them; one feature in 160 draws so little.
    """
    steps = noisy.flatten(1) * 2.0**32
    return (steps == steps.round()).all(1).long()


def many_black(noisy: Tensor) -> Tensor:
    """Class 1 where more than half of the features are at or below 0: a model that grid noise does change."""
    return ((noisy.flatten(1) <= 0).float().mean(1) > 0.5).long()


def odd(noisy: Tensor) -> Tensor:
    """Class 1 where the sum of the first row's grid values is odd: as restless as a model on the grid can be."""
    return (noisy[:, 0, 0] * 255).round().sum(1).long() % 2


def certify_at(f, x: Tensor, label: int, noise: str) -> Certificate:
    clf = Classifier(f, num_classes=2)
    threat = ThreatModel("l2", (0.0,))
    [certificate] = smooth(clf, x[None], [label], threat=threat, sigma=SIGMA, n=N, schedule="fixed", noise=noise)
    return certificate


def fresh_votes(f, x: Tensor, noise: str) -> np.ndarray:
    """Votes for both classes with noise that no certificate has used."""
    sampler = Sampler(Classifier(f, num_classes=2), x[None], ["fresh"], NOISES[noise](SIGMA), seed=12345)
    [look] = sampler.count("check", [Ballot(0, 0, N)])
    return np.array([look.counts.get(label, 0) for label in (0, 1)])


def contradicted(certificate: Certificate, votes: np.ndarray, distance: float) -> bool:
    """Whether votes at this distance are fewer than the certificate's own bound implies there (level 1e-6)."""
    upper = clopper_pearson_upper(int(votes[certificate.prediction]), N, 1e-6)
    implied = stats.norm.cdf(stats.norm.isf(certificate.evidence.q_upper) - distance / SIGMA)
    return upper < implied


def test_float_noise_certifies_what_an_adversary_refutes():
    certificate = certify_at(coarse, AT, 1, "gaussian")
    distance = distance_up(AT.numpy(), NEAR.numpy(), "l2")
    # Claimed: class 1 within 0.61. The adversary: class 0 at 0.22.
    assert certificate.prediction == 1
    assert certificate.radius > 0.6
    assert distance < 0.22
    votes = fresh_votes(coarse, NEAR, "gaussian")
    assert votes[0] > 0.99 * N
    assert contradicted(certificate, votes, distance)
    # So the two inputs are certified to have different classes, each within a ball that holds the other.
    other = certify_at(coarse, NEAR, 0, "gaussian")
    assert other.prediction == 0
    assert other.radius > 2 * distance
    assert "float32" in certificate.evidence.assumption


def test_grid_noise_certifies_the_same_class_at_both():
    certificates = [certify_at(coarse, x, 1, "gaussian-grid") for x in (AT, NEAR)]
    assert [c.prediction for c in certificates] == [1, 1]
    assert all(c.radius > 0.6 for c in certificates)
    for x in (AT, NEAR):
        assert fresh_votes(coarse, x, "gaussian-grid").tolist() == [0, N]
    assert "float32" not in certificates[0].evidence.assumption


@pytest.mark.parametrize("f", [coarse, many_black, odd])
def test_no_grid_certificate_is_contradicted_by_votes_elsewhere(f):
    points = [NEAR, AT, torch.full(SHAPE, 2 / 255), torch.full(SHAPE, 3 / 255)]
    votes = [fresh_votes(f, x, "gaussian-grid") for x in points]
    certified = 0
    for x in points:
        certificate = certify_at(f, x, int(np.argmax(fresh_votes(f, x, "gaussian-grid"))), "gaussian-grid")
        if certificate.radius is None:
            continue
        certified += 1
        for other, seen in zip(points, votes, strict=True):
            distance = distance_up(x.numpy(), other.numpy(), "l2")
            assert not contradicted(certificate, seen, distance)
            assert certificate.radius < distance or np.argmax(seen) == certificate.prediction
    assert (certified > 0) == (f is not odd)
