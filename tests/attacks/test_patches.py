"""The attack on patches: what it finds lies in one square, and it finds what planted models and enumeration have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import certify
from certify.attacks import patches
from certify.core.threats.places import Places
from certify.errors import BadInput
from tests.certifiers.test_patches import broken, images, linear, network


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 3)])
def test_examples_lie_in_one_square_and_are_found_where_corners_of_the_box_break_the_class(shape):
    found_by, there = dict.fromkeys(("pgd", "patch-pgd"), 0), 0
    for seed in range(3):
        clf, x = network(3 * seed, shape), images(shape, 4, seed)
        y = clf.predict(x)
        true = [broken(clf, one, int(label), (1,)) for one, label in zip(x, y, strict=True)]
        there += sum(side == 1 for side in true)
        threat = certify.Patch((1,), (0.0, 1.0))
        for name in found_by:
            for one, image in zip(certify.attack(clf, x, y, threat=threat, attack=name), x, strict=True):
                if one.succeeded:
                    assert threat.contains(image.numpy(), one.x_adv, one.radius)
                    assert int(clf.predict(torch.from_numpy(one.x_adv)[None])[0]) == one.adversarial_prediction
                    assert one.adversarial_prediction != one.label
                    found_by[name] += 1
    assert there > 0
    assert there <= found_by["patch-pgd"]
    assert found_by["pgd"] <= found_by["patch-pgd"]


@pytest.mark.parametrize("place", [(0, 0), (3, 4), (0, 4), (2, 1)])
def test_the_place_that_matters_is_found_in_networks_and_in_functions(place):
    weight = torch.full((1, 4, 5), 0.01)
    weight[(0, *place)] = 1.0
    clf, x = linear(weight, bias=-0.5), torch.ones(1, 1, 4, 5)
    threat = certify.Patch((1, 2))
    function = certify.Classifier(clf.predict, num_classes=2, input_box=(0.0, 1.0))
    for model in (clf, function):
        [found] = certify.attack(model, x, [0], threat=threat, attack="patch-pgd")
        assert found.distance == 1
        assert np.argwhere(found.x_adv[0] != 1.0).tolist() == [list(place)]


def test_findings_do_not_depend_on_the_batch():
    clf, x = network(3, (1, 4, 4)), images((1, 4, 4), 3)
    y, settings = clf.predict(x), {"threat": certify.Patch((1, 2)), "attack": "patch-pgd", "steps": 5}
    together = certify.attack(clf, x, y, **settings)
    for row, one in enumerate(together):
        [alone] = certify.attack(clf, x[row : row + 1], y[row : row + 1], index=[row], **settings)
        assert (alone.radius, alone.adversarial_prediction) == (one.radius, one.adversarial_prediction)
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)


def test_places_are_tried_a_few_at_a_time(monkeypatch):
    """All of them at once, with every end, would be gigabytes for an image of ordinary size."""
    clf, x = network(3, (1, 5, 5)), images((1, 5, 5), 2)
    y, settings = clf.predict(x), {"threat": certify.Patch((1, 2)), "attack": "patch-pgd", "steps": 2}
    together, held, boxes = certify.attack(clf, x, y, **settings), [], Places.boxes

    def counted(self, x, radius, lower, upper, which):
        held.append(len(which))
        return boxes(self, x, radius, lower, upper, which)

    monkeypatch.setattr(patches, "_TOGETHER", 10)
    monkeypatch.setattr(Places, "boxes", counted)
    again = certify.attack(clf, x, y, **settings)
    assert max(held) == 10
    assert [one.adversarial_prediction for one in again] == [one.adversarial_prediction for one in together]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"steps": 0}, "at least 1"), ({"places": 0}, "at least 1"), ({"step_scale": 0.0}, "positive number")],
)
def test_settings_that_cannot_be_right_are_refused(settings, said):
    clf, x = network(0, (1, 3, 3)), images((1, 3, 3), 1)
    with pytest.raises(BadInput, match=said):
        certify.attack(clf, x, [0], threat=certify.Patch((1,)), attack="patch-pgd", **settings)
    with pytest.raises(BadInput, match="patches only, got l2"):
        certify.attack(clf, x, [0], threat=certify.ThreatModel("l2", (0.1,)), attack="patch-pgd")
