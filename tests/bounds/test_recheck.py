"""Claims derived again from what a certificate brings, and what it takes to bring too much."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.bounds.hints import Hint, packed
from certify.bounds.methods import METHODS, bounds_of_rows
from certify.bounds.output import network_graph, output_bounds
from certify.bounds.radii.margins import MarginBounds
from certify.bounds.radii.recheck import rechecked_margins
from certify.certifiers.bounds import bound
from certify.core.evidence import BoundEvidence, evidence_from
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier

SCALE = (1.0, 0.5, 0.0, 2.0)


@pytest.fixture(scope="module")
def inputs(points):
    return points("recheck", 2, 4).sigmoid()


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize(("norm", "scale"), [("linf", None), ("l2", None), ("linf", SCALE)])
@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_every_certificate_is_derived_again_from_its_evidence(mlp, inputs, method, norm, scale, claim):
    clf = Classifier(mlp, num_classes=3)
    threat = ThreatModel(norm, (0.0, 0.02), (0.0, 1.0), scale=scale)
    graph = network_graph(clf, inputs[:1])
    found = bound(clf, inputs, threat=threat, method=method, claim=claim)
    for x, certificate in zip(inputs, found, strict=True):
        evidence = evidence_from(certificate.to_dict()["evidence"])
        assert certificate.radius > 0
        assert ("alpha" in evidence.bound_method) == bool(evidence.slopes)
        again = rechecked_margins(graph, x, certificate.prediction, threat, certificate.radius, evidence)
        assert again == pytest.approx(evidence.margins, rel=1e-9, abs=1e-12)
        assert min(again) > 0
        farther = rechecked_margins(graph, x, certificate.prediction, threat, 3 * certificate.radius + 0.1, evidence)
        assert min(farther) < min(again)
        other = (certificate.prediction + 1) % 3
        assert min(rechecked_margins(graph, x, other, threat, certificate.radius, evidence)) < 0


def test_evidence_of_another_network_is_refused_in_one_line(mlp, conv, inputs, points):
    clf, threat = Classifier(mlp, num_classes=3), ThreatModel("linf", (0.02,), (0.0, 1.0))
    [certificate] = bound(clf, inputs[:1], threat=threat, method="alpha-crown")
    image = points("recheck image", 2, 6, 6)
    graph = network_graph(conv, image.unsqueeze(0))
    with pytest.raises(BadInput, match="another network"):
        rechecked_margins(graph, image, 0, threat, 0.02, certificate.evidence)
    for slopes, words in (("AAAA", "cannot be read"), (certificate.evidence.slopes[:-8], "cannot be read")):
        with pytest.raises(BadInput, match=words):
            rechecked_margins(
                network_graph(clf, inputs[:1]), inputs[0], 0, threat, 0.02, replace(certificate.evidence, slopes=slopes)
            )


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_a_radius_that_is_none_is_refused_in_one_line(mlp, inputs, radius):
    evidence = BoundEvidence("crown", None, (1.0, 1.0), "float64", 0.0, 1)
    with pytest.raises(BadInput, match="finite and not below 0") as refused:
        rechecked_margins(network_graph(mlp, inputs[:1]), inputs[0], 0, ThreatModel("linf", (0.1,)), radius, evidence)
    assert "\n" not in str(refused.value)


def test_evidence_that_claims_what_the_network_cannot_carry_is_refused(inputs):
    """Of a network with float64 weights there are no float32 executions."""
    graph = network_graph(nn.Linear(4, 3).double().requires_grad_(False), inputs[:1].double())
    evidence, threat = BoundEvidence("crown", None, (1.0, 1.0), "float64", 0.0, 1), ThreatModel("linf", (0.1,))
    rechecked_margins(graph, inputs[0].double(), 0, threat, 0.1, evidence)
    with pytest.raises(ModelError, match="weights are float64"):
        rechecked_margins(graph, inputs[0].double(), 0, threat, 0.1, replace(evidence, claim="float32"))


class Turned(nn.Module):
    """Class 2 beats class 0 everywhere; between its layers entries change places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 4), nn.Linear(4, 3, bias=False)
        self.first.weight.data.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1], [1, -1]]))
        self.first.bias.data.copy_(torch.tensor([2.0, 2, 2, 0]))
        self.last.weight.data.copy_(torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0], [1.05, 1.05, 1.05, 0]]))

    def forward(self, x):
        h = torch.relu(self.first(x).view(-1, 2, 2).transpose(1, 2))
        return self.last(h.transpose(1, 2).flatten(1))


@pytest.mark.parametrize("shape", [(1, 2, 1, 2, 2), (3, 2, 2, 2), (1,), (1, 1, 2, 2), (1, 2, 4)])
def test_planes_of_another_layout_are_refused(shape):
    module, x = Turned().eval().requires_grad_(False), torch.tensor([0.5, 0.5])
    graph, threat = network_graph(module, x.unsqueeze(0)), ThreatModel("linf", (0.6,))
    [relu] = [node.name for node in graph.nodes if node.operator.kind == "relu"]

    def evidence(*shape):
        hint = Hint("", torch.zeros(0, dtype=torch.long), {relu: torch.zeros(shape, dtype=torch.uint8)})
        return BoundEvidence("alpha-crown", None, (1.0, 1.0), "float64", 0.0, 1, slopes=packed([hint]))

    assert min(rechecked_margins(graph, x, 0, threat, 0.6, evidence(1, 2, 2, 2))) < 0
    with pytest.raises(BadInput, match="another network"):
        rechecked_margins(graph, x, 0, threat, 0.6, evidence(*shape))


def test_memory_cuts_a_batch_and_changes_no_bound(mlp, points, monkeypatch, scoped):
    x = points("memory", 37, 4).double()
    sizes = []
    crown = METHODS["crown"]

    def counting(graph, region, C, **settings):
        sizes.append(len(C))
        return crown(graph, region, C, **settings)

    scoped(METHODS)["crown"] = counting
    whole = output_bounds(mlp, x - 0.1, x + 0.1)
    assert sizes == [37]
    parts = output_bounds(mlp, x - 0.1, x + 0.1, max_memory=40_000)
    assert sizes[1:] == [8, 8, 8, 8, 5]
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    for wrong in (0, -1, 1.5):
        with pytest.raises(BadInput, match="max_memory"):
            output_bounds(mlp, x - 0.1, x + 0.1, max_memory=wrong)


def test_parts_keep_the_hints_of_their_samples(mlp, points):
    x, threat = points("parts", 5, 4), ThreatModel("linf", (0.1,))
    graph = network_graph(mlp, x[:1]).to(torch.float64)
    margins = MarginBounds.of(graph, x.double(), torch.zeros(5, dtype=torch.long), threat)
    region = margins.region(torch.arange(5), torch.full((5,), 0.1))
    found = bounds_of_rows("alpha-crown", graph, region, margins.C, claim="exact", max_memory=1)
    assert len(found.hints) == 5
