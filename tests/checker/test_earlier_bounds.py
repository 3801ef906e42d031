"""Proofs of version 0.1, which bounded both ends of every entry, are derived again as they were."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import certify
from certify.bounds import crown as crown_module
from certify.bounds.graph import Graph
from certify.bounds.importers.torch_import import import_module
from certify.bounds.radii.recheck import rechecked_margins
from certify.checker.networks import network_claims
from certify.checker.result import Standing
from certify.data.dataset import seeded_generator
from certify.models.classifier import Classifier


def network() -> Classifier:
    """A pooling network: what its planes lean by has changed."""
    layers = [
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 12),
        nn.ReLU(),
        nn.Linear(12, 3),
    ]
    net, generator = nn.Sequential(*layers).eval().requires_grad_(False), seeded_generator("earlier bounds")
    for tensor in net.state_dict().values():
        size = tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.3
        tensor.copy_(torch.as_tensor(generator.normal(size=tuple(tensor.shape)) * size))
    return Classifier(net, num_classes=3)


CLF = network()
X = torch.as_tensor(seeded_generator("earlier inputs").uniform(size=(1, 1, 6, 6)), dtype=torch.float32)
Y = CLF.predict(X).tolist()
LINF = certify.ThreatModel("linf", (0.0, 0.01))


@pytest.mark.parametrize("method", ["crown", "alpha-crown"])
def test_margins_of_version_0_1_are_derived_again(monkeypatch, method):
    with monkeypatch.context() as earlier:
        earlier.setattr(crown_module, "LARGE", math.inf)
        earlier.setattr(Graph, "follows", lambda self, name: False)
        [one] = certify.bound(CLF, X, Y, threat=LINF, method=method)
    assert one.radius > 0
    monkeypatch.setattr(crown_module, "LARGE", 0)
    graph = import_module(CLF.module, X)
    again = [rechecked_margins(way, X[0], Y[0], one.threat, one.radius, one.evidence) for way in graph.ways]
    if method == "crown":  # the slopes of the other one say all about planes
        assert again[0] != pytest.approx(one.evidence.margins, rel=1e-7)
    assert again[1] == pytest.approx(one.evidence.margins, rel=1e-12)
    assert all(claim.standing is Standing.CONFIRMED for claim in network_claims(one, CLF, X[0]))
    for far in (replace(one, radius=one.radius * 1.01), replace(one, radius=one.radius * 0.99)):
        assert any(claim.standing is Standing.REFUTED for claim in network_claims(far, CLF, X[0]))
