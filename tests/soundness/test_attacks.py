"""Attacks against classifiers whose exact robustness is known: never nearer than the truth, and close to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from certify.attacks.base import ATTACKS
from certify.attacks.run import run_attack
from certify.attacks.smoothed import Smoothed
from certify.certifiers.attack import attack
from certify.core.norms import DUAL, NORMS
from certify.core.threats.lp import ThreatModel
from certify.data.batch import Batch
from certify.models.classifier import Classifier
from certify.registry import make
from certify.smoothing.noise.base import NOISES

ORD = {"l1": 1, "l2": 2, "linf": np.inf}
CLASSES, FEATURES, INPUTS = 3, 20, 12


def linear(weight, bias, box=None):
    layer = nn.Linear(weight.shape[1], len(weight)).eval()
    layer.weight.data, layer.bias.data = torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
    return Classifier(layer, num_classes=len(weight), input_box=box)


def exact_distances(weight, bias, x, y, norm):
    """Distance to the nearest decision boundary: (w_y - w_j) x / ||w_y - w_j||_dual, least over j (Hoelder)."""
    scores = x @ weight.T + bias
    gaps = np.take_along_axis(scores, y[:, None], axis=1) - scores
    lengths = np.linalg.norm(weight[y][:, None] - weight[None], ord=ORD[DUAL[norm]], axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmin(gaps / lengths, axis=1)


@pytest.fixture(scope="module")
def case():
    # Values of float32, so that the exact distances are those of the model that runs.
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(CLASSES, FEATURES)).astype(np.float32).astype(np.float64)
    bias = rng.normal(size=CLASSES).astype(np.float32).astype(np.float64)
    x = rng.normal(size=(INPUTS, FEATURES)).astype(np.float32).astype(np.float64)
    return weight, bias, x, (x @ weight.T + bias).argmax(axis=1)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_finds_the_exact_distance_of_a_linear_classifier_and_nothing_nearer(norm, case):
    weight, bias, x, y = case
    clf, exact = linear(weight, bias), exact_distances(*case, norm)
    for i, distance in enumerate(exact[:6]):
        threat = ThreatModel(norm, (0.5 * distance, 0.99 * distance, 1.03 * distance))
        [found] = attack(clf, x[i : i + 1], y[i : i + 1], threat=threat, steps=20, seed=i)
        assert found.radius == threat.largest
        assert found.distance >= distance * (1 - 1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fgsm", "autoattack"])
def test_other_attacks_find_nothing_nearer_either(name, norm, case):
    weight, bias, x, y = case
    # A box that holds the inputs only makes the true distance larger.
    clf, exact = linear(weight, bias, (-5.0, 5.0)), exact_distances(*case, norm)
    settings = {"version": "custom", "attacks": ("apgd-ce", "fab")} if name == "autoattack" else {"loss": "margin"}
    found_some = False
    for i, distance in enumerate(exact[: 1 if name == "autoattack" else 4]):
        threat = ThreatModel(norm, (0.99 * distance, 1.5 * distance))
        [found] = attack(clf, x[i : i + 1], y[i : i + 1], threat=threat, attack=name, **settings)
        if found.succeeded:
            found_some = True
            assert found.distance >= distance * (1 - 1e-5)
    assert found_some


@pytest.mark.parametrize("norm", NORMS)
def test_the_box_is_respected_exactly_even_where_its_edges_are_no_float32(norm, case):
    weight, bias, _, _ = case
    box = (0.1, 0.7)
    x = np.random.default_rng(1).uniform(0.11, 0.69, size=(INPUTS, FEATURES)).astype(np.float32)
    x[:, ::3] = np.nextafter(np.float32(0.7), np.float32(0))
    clf = linear(weight, bias, box)
    y = clf.predict(torch.from_numpy(x)).numpy()
    radii = {"l1": (1.0, 6.0), "l2": (0.3, 2.0), "linf": (0.1, 0.6)}[norm]
    found = attack(clf, x, y, threat=ThreatModel(norm, radii), steps=15)
    examples = np.stack([f.x_adv for f in found if f.succeeded]).astype(np.float64)
    assert len(examples) >= INPUTS // 2
    assert box[0] <= examples.min()
    assert examples.max() <= box[1]
    assert (np.isclose(examples, box[0]) | np.isclose(examples, box[1])).any()


def test_no_example_of_a_smoothed_linear_classifier_lies_inside_its_exact_radius():
    """Two classes: sigma Phi^-1(p) is the distance to the hyperplane (Cohen et al. 2019, appendix B)."""
    rng = np.random.default_rng(3)
    w, sigma = rng.normal(size=FEATURES), 0.5
    w /= np.linalg.norm(w)
    distances = np.linspace(0.2, 1.0, 6)
    across = rng.normal(size=(len(distances), FEATURES))
    x = across - np.outer(across @ w + distances, w)
    clf = linear(np.stack([-w, w]), np.zeros(2))
    batch = Batch.of(x.astype(np.float32), np.zeros(len(x), dtype=np.int64), num_classes=2)
    target = Smoothed(clf, NOISES["gaussian"](sigma), draws=16, n=1000, alpha=0.001)
    pgd = make(ATTACKS, "pgd", {"steps": 10, "restarts": 1})
    # With n = 1000 a share of 0.42 is told from 1/2: the boundary must be passed by sigma Phi^-1(0.58).
    slack = sigma * stats.norm.ppf(0.58)
    for i, distance in enumerate(distances):
        threat = ThreatModel("l2", (0.5 * distance, 0.98 * distance, distance + slack))
        [found] = run_attack(target, batch.rows(slice(i, i + 1)), threat, pgd, seed=i)
        assert found.radius == threat.largest
        assert found.distance >= distance
        assert found.p_label_upper < 0.5
        # A fresh, larger sample at the replayed example agrees.
        votes = Smoothed(clf, NOISES["gaussian"](sigma), n=20_000).votes(torch.from_numpy(found.x_adv), "fresh")
        assert votes[0] < votes[1]


def test_false_acceptances_on_the_boundary_stay_within_alpha():
    """On the hyperplane itself neither class wins: at most alpha of the examinations may say that one does."""
    clf = linear(np.array([[-1.0, 0.0], [1.0, 0.0]]), np.zeros(2))
    target = Smoothed(clf, NOISES["gaussian"](0.5), n=100, alpha=0.05)
    refuted = sum(target.examine(torch.zeros(2), 0, str(key), tries=1).refuted for key in range(600))
    assert refuted <= stats.binom.ppf(0.999, 600, 0.05)
    # And the level is used, not wasted: split over ten tries it accepts far less.
    assert refuted > sum(target.examine(torch.zeros(2), 0, str(key), tries=10).refuted for key in range(600))
