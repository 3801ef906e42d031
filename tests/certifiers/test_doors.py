"""The short ways to certify: they take what the certifiers take, and every question that a certifier answers."""

from __future__ import annotations

import inspect

import pytest
import torch

import certify
from certify.certifiers.certify import certify as certify_any
from certify.errors import BadInput

DOORS = {"smooth": certify.Smoothing, "bound": certify.Bounds, "verify": certify.Complete}
OTHERWISE = {
    "smooth": {"sigma", "noise"},  # a law brings its own sigma
    "bound": set(),
    "verify": {"decide"},  # what gap=None says
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_has_the_settings_of_its_certifier_with_their_defaults(door):
    own = inspect.signature(getattr(certify, door)).parameters
    for name, setting in inspect.signature(DOORS[door]).parameters.items():
        if name not in OTHERWISE[door]:
            assert own[name].default == setting.default, name
    everywhere = inspect.signature(certify_any).parameters.keys() - {"certifier"}
    assert everywhere <= own.keys()


def test_a_door_asks_for_a_property():
    layer = torch.nn.Linear(2, 3).eval().requires_grad_(False)
    layer.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    layer.bias.zero_()
    clf, x = certify.Classifier(layer, num_classes=3), [[0.9, 0.1]]
    linf, l2 = (certify.ThreatModel(norm, (0.0, 0.1)) for norm in ("linf", "l2"))
    made = [
        *certify.smooth(clf, x, threat=l2, property=certify.Never(1), sigma=0.25, n=1000),
        *certify.bound(clf, x, threat=linf, property=certify.Never(1)),
        *certify.verify(clf, x, threat=linf, property=certify.Never(1)),
    ]
    assert [one.property for one in made] == [certify.Never(1)] * 3
    assert all(one.radius >= 0.1 for one in made)
    with pytest.raises(BadInput, match="property, gap and index go with classifiers"):
        certify.verify("net.onnx", "prop.vnnlib", property=certify.Never(1))
