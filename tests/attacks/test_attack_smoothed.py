"""The smoothed target: scores for the search, exact error probabilities for the examination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from certify.attacks.smoothed import Smoothed, label_loses
from certify.certifiers.attack import attack
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput


@pytest.mark.parametrize("n", [20, 57])
def test_two_tied_classes_are_told_apart_with_probability_at_most_alpha_exactly(n):
    k = np.arange(n + 1)
    loses = [label_loses([int(votes), int(n - votes)], 0, 0.05) for votes in k]
    error = stats.binom.pmf(k, n, 0.5)[loses].sum()
    assert 0 < error <= 0.05


def test_three_tied_classes_are_told_apart_with_probability_at_most_alpha_exactly():
    n, alpha = 30, 0.05
    error = 0.0
    for votes in itertools.product(range(n + 1), repeat=2):
        if sum(votes) <= n and label_loses([*votes, n - sum(votes)], 0, alpha):
            error += stats.multinomial.pmf([*votes, n - sum(votes)], n, [1 / 3] * 3)
    assert 0 < error <= alpha


def test_a_label_below_one_half_that_still_leads_does_not_lose():
    assert not label_loses([4000, 3000, 3000], 0, 0.001)
    assert not label_loses([0, 0, 0], 0, 0.001)
    assert label_loses([3000, 4000, 3000], 0, 0.001)


def test_scores_follow_the_key_and_not_the_batch(image_clf, images, normal):
    target = Smoothed(image_clf, normal(0.3), draws=8)
    x = images[0][:3]
    together = target.scores(x, ["a", "b", "c"])
    assert torch.equal(together[1:2], target.scores(x[1:2], ["b"]))
    assert not torch.equal(together[1:2], target.scores(x[1:2], ["other"]))
    torch.testing.assert_close(together.exp().sum(dim=1), torch.ones(3))


def test_scores_are_the_log_of_the_mean_softmax_with_its_gradient(image_clf, images, normal):
    """With almost no noise they are the base classifier's log-softmax."""
    target = Smoothed(image_clf, normal(1e-6), draws=3)
    x = images[0][:2].clone().requires_grad_()
    scores = target.scores(x, ["a", "b"])
    expected = image_clf.scores(x).log_softmax(dim=1)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    ours, theirs = (torch.autograd.grad(one[:, 0].sum(), x)[0] for one in (scores, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_findings_say_how_they_were_examined(image_clf, images, normal):
    threat = ThreatModel("l2", (0.0, 2.0))
    settings = {"steps": 6, "restarts": 1, "draws": 8, "n": 300, "alpha": 0.01}
    found = attack(image_clf, *images, threat=threat, noise=normal(0.25), **settings)
    assert sum(f.succeeded for f in found) >= 3
    for f in found:
        assert {"noise": "gaussian", "sigma": 0.25, "draws": 8, "n": 300, "alpha": 0.01}.items() <= f.settings.items()
        assert (f.p_label_upper is not None and f.p_label_upper < 0.5) == f.succeeded
        if f.succeeded:
            assert f.adversarial_prediction != f.label


def test_autoattack_rand_breaks_a_smoothed_classifier(image_clf, images, normal):
    settings = {"attack": "autoattack", "version": "rand", "noise": normal(0.2), "draws": 2}
    [found] = attack(image_clf, images[0][:1], images[1][:1], threat=ThreatModel("l2", (1.0,)), **settings)
    assert found.succeeded
    assert found.p_label_upper < 0.5


def test_wrong_settings_are_refused(image_clf, normal):
    for wrong in ({"draws": 0}, {"n": 0}, {"alpha": 0.0}):
        with pytest.raises(BadInput):
            Smoothed(image_clf, normal(0.1), **wrong)
