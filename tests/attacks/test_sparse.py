"""Random search over changed positions: examples lie in the threat, planted weaknesses are found in plain functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import certify
from certify.errors import BadInput, ModelError


def function(score, box=(0.0, 1.0)):
    """Class 1 where a score of inputs (B, ...) is above 0, as a function without gradients."""
    return certify.Classifier(lambda x: torch.stack([-score(x), score(x)], dim=1).detach(), 2, box)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_as_many_changes_as_it_takes_are_found_and_no_fewer(k):
    """The sum of ten ones loses its majority of 6.5 once so many of them are 0: 4 of 10."""
    clf = function(lambda x: 10 - k + 0.5 - x.sum(1))
    [found] = certify.attack(clf, torch.ones(1, 10), [0], threat=certify.Features((1, 2, 3)), attack="sparse-rs")
    assert (found.radius, found.distance) == (k, k)
    assert (found.x_adv == 0).sum() == k


def test_bytes_stay_bytes_and_what_is_in_no_group_stays():
    """Class 1 for one byte of 256 in the last two places; those before them are a header."""
    clf = function(lambda x: (x[:, 2:].long() == 7).any(1).float() - 0.5, (0, 255))
    x = torch.tensor([[7.0, 7.0, 3.0, 4.0]])
    threat = certify.Features((1, 2), groups="2,3")
    [found] = certify.attack(clf, x, [0], threat=threat, attack="sparse-rs", queries=3000)
    assert found.succeeded
    assert found.x_adv[:2].tolist() == [7, 7]
    assert (found.x_adv == found.x_adv.round()).all()
    assert 7 in found.x_adv[2:]
    header = function(lambda x: 0.5 - (x[:, :2] == 7).all(1).float(), (0, 255))
    [safe] = certify.attack(header, x, [0], threat=threat, attack="sparse-rs")
    assert not safe.succeeded
    assert safe.forward_passes > 2000  # radii 1 and 2, all queries of each


def test_categories_become_other_categories():
    x = torch.eye(4)[[0, 2]].reshape(1, 8)
    clf = function(lambda x: x[:, 3] + x[:, 4] - 1.5)
    for box in ((0.0, 1.0), None):
        clf = function(lambda x: x[:, 3] + x[:, 4] - 1.5, box)
        threat = certify.Categories((1, 2), groups="0:4,4:8")
        [found] = certify.attack(clf, x, [0], threat=threat, attack="sparse-rs")
        assert found.radius == 2
        assert found.x_adv.tolist() == torch.eye(4)[[3, 0]].flatten().tolist()


def test_the_vote_over_subsets_is_attacked_and_keeps_what_is_certified():
    clf = function(lambda x: x.sum(1) - 0.5)
    x, threat = torch.full((1, 12), 0.9), certify.Features(tuple(range(13)))
    vote = certify.Enumeration(retention=1)
    [proof] = certify.certify(clf, x, threat=certify.Features(tuple(range(6))), certifier=vote)
    [found] = certify.attack(clf, x, [1], threat=threat, attack="sparse-rs", queries=200, certifier=vote)
    assert proof.radius == 5
    assert proof.radius < found.radius <= 8


def test_findings_do_not_depend_on_the_batch():
    x = torch.rand(3, 2, 6, generator=torch.Generator().manual_seed(0))
    clf = function(lambda x: x.flatten(1)[:, :4].sum(1) - 3)
    y, settings = clf.predict(x), {"threat": certify.Features((1, 2)), "attack": "sparse-rs", "queries": 40}
    together = certify.attack(clf, x, y, **settings)
    for row, one in enumerate(together):
        [alone] = certify.attack(clf, x[row : row + 1], y[row : row + 1], index=[row], **settings)
        assert (alone.radius, alone.adversarial_prediction) == (one.radius, one.adversarial_prediction)
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)


def test_what_needs_gradients_names_what_does_not():
    clf = function(lambda x: x.sum(1) - 1)
    threats = {"sparse-rs": certify.Features((1,)), "hopskipjump or random-search": certify.ThreatModel("l2", (0.1,))}
    for other, threat in threats.items():
        with pytest.raises(ModelError, match=f"needs gradients, and a plain function has none: use {other} instead"):
            certify.attack(clf, [[0.2, 0.3]], [0], threat=threat, attack="pgd")
    with pytest.raises(BadInput, match="changes counted positions only, got l2"):
        certify.attack(clf, [[0.2, 0.3]], [0], threat=threats["hopskipjump or random-search"], attack="sparse-rs")
    with pytest.raises(BadInput, match="queries must be at least 1, got 0"):
        certify.attack(clf, [[0.2, 0.3]], [0], threat=threats["sparse-rs"], attack="sparse-rs", queries=0)


def test_the_grid_looks_at_transforms_of_functions():
    clf = function(lambda x: x.mean(1) - 0.5)
    [found] = certify.attack(clf, [[0.4, 0.3]], [0], threat=certify.Brightness((0.1, 0.2)), attack="grid", points=50)
    assert found.radius == 0.2
    assert found.distance <= 0.2
