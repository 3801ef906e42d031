"""Mean and std inside of a classifier: for tables, series and images, with radii in the units of the inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import certify
from certify.errors import DataError
from certify.models.classifier import Normalize

X = torch.tensor([[0.75, 0.25], [0.2, 0.9]])


def identity() -> nn.Module:
    net = nn.Linear(2, 2, bias=False).eval().requires_grad_(False)
    net.weight.copy_(torch.eye(2))
    return net


@pytest.mark.parametrize("axes", [0, 1])
@pytest.mark.parametrize(
    ("mean", "std"), [([0.5, 0.5], [0.1, 0.1]), ([0.5], [0.1]), (0.5, 0.1), (torch.full((2,), 0.5), (0.1, 0.1))]
)
def test_radii_are_in_the_units_of_the_inputs(mean, std, axes):
    """The margin of the identity is the difference of two entries, whose gradient is sqrt(2) long, whatever the std."""
    x = X.reshape(2, 2, *[1] * axes)  # features of a table, channels of a series of length 1
    clf = certify.Classifier(nn.Sequential(nn.Flatten(), identity()).eval(), num_classes=2, mean=mean, std=std)
    found = certify.bound(clf, x, [0, 1], threat=certify.ThreatModel("l2", radii=(0.0, 0.25)), method="crown")
    exact = [0.5 / 2**0.5, 0.7 / 2**0.5]
    assert all(0.998 * e < one.radius <= e for one, e in zip(found, exact, strict=True))


def test_each_place_on_axis_1_has_its_own():
    x = torch.arange(12.0).reshape(2, 3, 2)
    mean, std = [0.0, 1.0, 2.0], [1.0, 2.0, 4.0]
    expected = torch.stack([(x[:, i] - mean[i]) / std[i] for i in range(3)], dim=1)
    assert torch.equal(Normalize(mean, std)(x), expected)


def test_as_many_values_as_places_or_one():
    with pytest.raises(DataError, match=r"have 3 values each, and axis 1 of the inputs 1 places"):
        Normalize([0.5] * 3, [0.5] * 3)(torch.zeros(1, 1, 4, 4))
