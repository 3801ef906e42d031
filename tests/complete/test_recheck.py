"""Complete certificates derived again from their evidence, which may have been changed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.bounds.output import network_graph
from certify.certifiers.complete import verify
from certify.complete.proofs.recheck import rechecked
from certify.complete.question import Question, changes_class
from certify.core.evidence import evidence_from
from certify.core.example import Example
from certify.core.threats.lp import ThreatModel
from certify.data.generators import keyed_generator
from certify.errors import BadInput
from certify.models.classifier import Classifier


def network(*sizes: int) -> Classifier:
    generator, parts = keyed_generator(f"recheck {sizes}"), []
    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, outputs).requires_grad_(False)
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) / inputs**0.5)
        layer.bias.copy_(torch.randn(outputs, generator=generator) / 4)
        parts += [layer, nn.ReLU()]
    net = nn.Sequential(*parts[:-1]).eval()
    net[-1].bias -= net(torch.full((1, sizes[0]), 0.5))[0]
    return Classifier(net, sizes[-1])


def reexecuted(clf, x, kept, threat, evidence):
    """Whether the example in the evidence lies as near to the input as stated and is classified differently."""
    if evidence.example is None or evidence.falsified is None:
        return False
    return changes_class(clf, x, torch.from_numpy(evidence.example.values).float(), kept, threat, evidence.falsified)


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize(
    ("features", "norm", "scale"), [(3, "linf", None), (3, "l2", None), (3, "l1", (1.0, 0.0, 2.0)), (24, "linf", None)]
)
def test_every_claim_is_derived_again_from_its_evidence(features, norm, scale, claim):
    clf = network(features, 8, 8, 3)
    x = torch.rand(1, features, generator=keyed_generator("0"))
    threat = ThreatModel(norm, (0.0, 1.0), scale=scale)
    [certificate] = verify(clf, x, threat=threat, gap=0.05 if features < 20 else 0.002, timeout=20, claim=claim)
    evidence, kept = evidence_from(certificate.to_dict()["evidence"]), certificate.prediction
    threat, graph = certificate.threat, network_graph(clf, x)
    assert evidence.solver == ("neurons" if features > 20 else "inputs")
    assert rechecked(graph, x[0], kept, threat, certificate.radius, evidence)
    assert not rechecked(graph, x[0], kept, threat, 1.2 * evidence.falsified, evidence)
    assert not rechecked(graph, x[0], (kept + 1) % 3, threat, certificate.radius, evidence)
    assert reexecuted(clf, x[0], kept, threat, evidence)
    assert not reexecuted(clf, x[0], evidence.adversarial_prediction, threat, evidence)
    assert not reexecuted(clf, x[0], kept, threat, replace(evidence, falsified=0.99 * evidence.falsified))
    assert not reexecuted(clf, x[0], kept, threat, replace(evidence, example=Example.of(x[0].numpy())))


def test_what_is_no_evidence_is_refused_in_one_line():
    clf, x, threat = network(3, 8, 8, 3), torch.tensor([[0.4, 0.7, 0.2]]), ThreatModel("linf", (0.0, 1.0), (0.0, 1.0))
    [certificate] = verify(clf, x, threat=threat, gap=0.05)
    graph, evidence = network_graph(clf, x), certificate.evidence
    for radius in (-0.1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="finite and not below 0"):
            rechecked(graph, x[0], certificate.prediction, threat, radius, evidence)
    cut = replace(evidence, proof=evidence.proof[:-8])
    with pytest.raises(BadInput, match="cannot be read") as refused:
        rechecked(graph, x[0], certificate.prediction, threat, certificate.radius, cut)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="buffer size"):
        replace(evidence.example, base64=evidence.example.base64[:-4])
    nothing = replace(evidence, proof="", certified=None)
    assert not rechecked(graph, x[0], certificate.prediction, threat, 0.0, nothing)
    unbroken = replace(evidence, falsified=None, example=None, adversarial_prediction=None)
    assert not reexecuted(clf, x[0], certificate.prediction, threat, unbroken)


class Overflow(nn.Module):
    """The second class wins above 0.6, and with scores that overflow above 0.7."""

    def forward(self, x):
        return torch.stack([x[:, 0] * 0 + 1, (x[:, 0] - 0.6).relu() * 3e38 * 10], dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_scores_that_overflow_show_nothing(norm):
    clf, x, threat = Classifier(Overflow().eval(), 2), torch.tensor([0.5]), ThreatModel(norm, (0.4,), (0.0, 1.0))
    question = Question(clf, network_graph(clf, x[None]), x, 0, threat, "exact")
    assert question.examine(torch.tensor([[0.9], [0.55]]), 0.4) is None
    assert question.examine(torch.tensor([[0.9], [0.65]]), 0.4).x == pytest.approx(0.65)
    assert question.examine(torch.tensor([[0.65]]), 0.05) is None  # outside, and 0.55 is no example
    [certificate] = verify(clf, x[None], threat=threat, gap=0.5, timeout=5)
    for far, changed in ((0.65, True), (0.9, False)):
        example = Example.of(torch.tensor([far]).numpy())
        evidence = replace(certificate.evidence, falsified=0.41, example=example, adversarial_prediction=1)
        assert reexecuted(clf, x, 0, threat, evidence) == changed
