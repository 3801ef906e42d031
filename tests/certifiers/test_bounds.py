"""Verdicts of bound propagation as a certifier."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from certify.bounds.methods import METHODS
from certify.bounds.rules.base import NotCovered
from certify.bounds.rules.relu import ReLU
from certify.certifiers.base import CERTIFIERS
from certify.certifiers.bounds import Bounds, bound
from certify.core.certificate import Certificate
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput, DataError, ModelError, UnsupportedOperator
from certify.models.classifier import Classifier
from certify.summary.summarize import summarize

LINF = ThreatModel("linf", (0.1, 0.2))


class Sorted(nn.Module):
    """No rule covers it."""

    def forward(self, x):
        return x.sort(1).values


def test_every_bound_method_is_a_certifier():
    for method in METHODS:
        certifier = CERTIFIERS[method]()
        assert certifier == Bounds(method)
        assert certifier.method == certifier.settings()["method"] == method
        assert method in certifier.describe(LINF, (2,))


def test_auto_asks_for_what_is_needed(halves):
    certifier = CERTIFIERS["auto"](decide=True)
    assert certifier == Bounds("auto", decide=True)
    assert "auto (ibp, crown" in certifier.describe(LINF, (2,))
    [certificate] = bound(halves, [[0.9, 0.2]], [0], threat=LINF, method="auto")
    assert (certificate.method, certificate.evidence.bound_method) == ("auto", "ibp")
    assert 0.349 < certificate.radius < 0.35 + 1e-7


def test_declared_radii_alone(halves):
    far, near, close = bound(halves, [[0.9, 0.2], [0.5, 0.2], [0.5, 0.45]], [0, 0, 0], threat=LINF, decide=True)
    assert (far.radius, near.radius, close.radius) == (0.2, 0.1, None)
    assert max(one.evidence.evaluations for one in (far, near, close)) == 3


def test_claims_about_executions_are_recorded(halves):
    [certificate] = bound(halves, [[0.9, 0.2]], [0], threat=LINF, claim="float32")
    assert certificate.evidence.claim == "float32"
    assert Certificate.from_dict(certificate.to_dict()) == certificate
    assert "every float32 execution" in Bounds(claim="float32").describe(LINF, (2,))
    [exact] = bound(halves, [[0.9, 0.2]], [0], threat=LINF)
    assert exact.evidence.claim == "exact"
    assert 0.349 < certificate.radius <= exact.radius
    # A margin of one unit in the last place is a margin; in claims about executions it may be rounding.
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    zero = ThreatModel("linf", (0.0,))
    narrow = [bound(halves, [[float(above), 0.5]], threat=zero, claim=claim)[0] for claim in ("exact", "float32")]
    assert narrow[0].verdict is Verdict.CERTIFIED
    assert narrow[1].verdict is Verdict.UNKNOWN


def test_claims_that_cannot_be_made_are_refused_before_any_work(monkeypatch):
    wide = Classifier(nn.Linear(2, 2).double().eval(), 2)
    with pytest.raises(ModelError, match=r"float64.*claim \"exact\"") as caught:
        Bounds(claim="float32").check(wide, LINF, torch.zeros(1, 2))
    assert "\n" not in str(caught.value)

    def unknown(self, *boxes):
        raise NotCovered("nothing is known about its executions")

    monkeypatch.setattr(ReLU, "executed", unknown)
    bent = Classifier(nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval(), 2)
    with pytest.raises(UnsupportedOperator, match=r"relu.*claim \"exact\"") as caught:
        Bounds(claim="float32").check(bent, LINF, torch.zeros(1, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"claim": "float16"}, "unknown claim"),
        ({"decide": "yes"}, "decide must be true"),
        ({"method": "aut"}, "unknown bound method 'aut'; did you mean 'auto'"),
        ({"max_memory": 0}, "max_memory is in bytes"),
        ({"max_memory": "4G"}, "max_memory must be a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(BadInput, match=words):
        Bounds(**settings)


def test_memory_decides_how_many_at_a_time_and_no_result(halves, scoped):
    asked, crown = [], METHODS["crown"]

    def counting(graph, region, C, **claim):
        asked.append(len(C))
        return crown(graph, region, C, **claim)

    scoped(METHODS)["crown"] = counting
    x, threat = torch.linspace(0, 1, 20).reshape(10, 2).flip(1), ThreatModel("linf", (0.0, 0.1))
    whole = bound(halves, x, threat=threat)
    assert max(asked) == 10
    asked.clear()
    parts = bound(halves, x, threat=threat, max_memory=1)
    assert max(asked) == 1
    assert [one.radius for one in parts] == pytest.approx([one.radius for one in whole], rel=1e-9)
    assert Bounds(max_memory=1).settings() == Bounds().settings()
    with pytest.raises(BadInput, match="max_memory out"):
        bound(halves, x, threat=threat, method="lipschitz", max_memory=1)


def test_verdicts_and_radii(halves):
    x = [[0.9, 0.2], [0.5, 0.2], [0.5, 0.45], [0.2, 0.9], [0.5, 0.5]]
    far, near, close, wrong, tie = bound(halves, x, [0, 0, 0, 0, 0], threat=LINF, index=[7, 8, 9, 10, 11])
    # Features move toward each other: the true radius is half their difference.
    assert far.verdict is near.verdict is Verdict.CERTIFIED
    assert 0.349 < far.radius < 0.35 + 1e-7
    assert 0.1498 < near.radius < 0.15 + 1e-7
    assert near.holds_at(0.1)
    assert not near.holds_at(0.2)
    assert close.verdict is tie.verdict is Verdict.UNKNOWN
    assert "the input itself do not exceed" in tie.reason
    assert close.evidence.margins[0] == pytest.approx(0.05, abs=1e-6)  # at the input: the search failed at 0.1
    assert close.evidence.evaluations == 2
    assert (wrong.verdict, wrong.radius, wrong.evidence) == (Verdict.FALSIFIED, None, None)
    assert wrong.reason == "the input itself is misclassified"
    assert [one.index for one in (far, near, close, wrong, tie)] == [7, 8, 9, 10, 11]
    assert far.guarantee.kind == "deterministic"
    assert min(far.evidence.margins) > 0
    assert far.evidence.margins[0] == pytest.approx(0.7 - 2 * far.radius, abs=1e-6)
    assert far.evidence.dtype == "float64"
    assert far.evidence.evaluations == far.forward_passes - 1 > 1
    assert far.model_digest == halves.digest
    assert Certificate.from_dict(far.to_dict()) == far


def test_without_labels_the_claim_is_about_the_prediction(halves):
    first, second = bound(halves, [[0.9, 0.2], [0.2, 0.9]], threat=LINF)
    assert (first.prediction, second.prediction) == (0, 1)
    assert first.radius == pytest.approx(second.radius)
    assert second.label is None


def test_declared_radii_are_reached_exactly(halves):
    threat = ThreatModel("linf", (0.1,))
    # The difference is just above 0.2 in float32, so 0.1 is certifiable; the reported radius must not fall short of it.
    [certificate] = bound(halves, torch.tensor([[0.6000001, 0.4]]), [0], threat=threat)
    assert certificate.radius == 0.1


@pytest.mark.parametrize("method", METHODS)
def test_groups_do_not_change_radii(halves, method):
    x = torch.linspace(0, 1, 70).reshape(35, 2).flip(1)
    threat = ThreatModel("linf", (0.0, 0.1))
    together = bound(halves, x, threat=threat, method=method)
    alone = [bound(halves, x[i : i + 1], threat=threat, method=method)[0] for i in (0, 33, 34)]
    assert [together[i].radius for i in (0, 33, 34)] == pytest.approx([one.radius for one in alone], rel=1e-9)


def test_scores_that_overflow_are_an_error():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False)
    for layer in module:
        layer.weight.fill_(3e38)
    [certificate] = bound(Classifier(module.eval(), 2), [[1.0, 1.0]], threat=LINF)
    assert certificate.verdict is Verdict.ERROR
    assert certificate.prediction is None
    assert "NaN or infinity" in certificate.reason


@pytest.mark.parametrize(
    ("model", "x", "method", "error", "words"),
    [
        (lambda x: x, [[0.1, 0.2]], "crown", ModelError, "use smoothing"),
        (nn.Sequential(nn.Linear(2, 2), Sorted()), [[0.1, 0.2]], "crown", UnsupportedOperator, "sort"),
        (nn.Linear(2, 2), [[0.1, 1.2]], "ibp", DataError, "outside the declared input box"),
        (nn.Linear(2, 2), [[0.1, 0.2]], "crwn", BadInput, "did you mean 'crown'.* known: auto, .*, lipschitz$"),
    ],
)
def test_what_cannot_be_certified_is_refused_in_one_line(model, x, method, error, words):
    model = model.eval() if isinstance(model, nn.Module) else model
    with pytest.raises(error, match=words) as caught:
        bound(Classifier(model, 2), x, threat=LINF, method=method)
    assert "\n" not in str(caught.value)


def test_radii_hardly_depend_on_the_inputs_beside_them(halves):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(40, 2, generator=generator)
    together = bound(halves, x, threat=LINF)
    alone = [bound(halves, one[None], threat=LINF, index=[i])[0] for i, one in enumerate(x)]
    assert [c.verdict for c in together] == [c.verdict for c in alone]
    assert sum(a.radius == b.radius for a, b in zip(together, alone, strict=True)) >= 39


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_a_table_says_what_the_proofs_are_about(halves, claim):
    certificates = bound(halves, [[0.9, 0.1], [0.1, 0.9]], [0, 1], threat=ThreatModel("linf", (0.0,)), claim=claim)
    summary = summarize(certificates)
    for text in (summary.statement, summary.head["guarantee"]):
        assert "exact real arithmetic" in text
        assert ("every float32 execution" in text) == (claim == "float32")


@pytest.mark.parametrize("method", ["crown", "lipschitz"])
def test_weights_changed_before_the_first_certificate_are_refused(method):
    clf = Classifier(nn.Linear(2, 2).eval(), num_classes=2)
    next(clf.module.parameters()).data.mul_(2.0)
    with pytest.raises(ModelError, match="wrap the module in a new Classifier"):
        bound(clf, [[0.9, 0.1]], threat=ThreatModel("l2", (0.0,)), method=method)
