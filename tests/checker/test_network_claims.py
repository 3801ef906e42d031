"""Proofs about the network itself: what is untouched is confirmed, and whatever is changed is named."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.bounded.memory import NoRoom
from certify.checker import networks
from certify.checker.networks import network_claims
from certify.checker.result import Standing
from certify.core.certificate import Certificate
from certify.core.example import Example
from certify.core.verdict import Verdict
from certify.data.dataset import input_digest, seeded_generator
from certify.errors import UnsupportedOperator
from certify.models.classifier import Classifier

SCALE = (1.0, 0.5, 0.0, 2.0)


def network(key: str, *more: nn.Module) -> Classifier:
    """4 features, 8 neurons, 3 classes whose scores are near one another at the middle."""
    generator = seeded_generator("checked network", key)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *more, nn.Linear(8, 3)).eval().requires_grad_(False)
    for tensor in module.state_dict().values():
        tensor.copy_(torch.as_tensor(generator.normal(size=tuple(tensor.shape))))
    module[-1].bias -= module(torch.full((1, 4), 0.5))[0]
    return Classifier(module, num_classes=3)


CLF = network("mlp")
X = torch.as_tensor(seeded_generator("checked inputs").uniform(size=(6, 4)), dtype=torch.float32)
Y = CLF.predict(X).tolist()
LINF = certify.ThreatModel("linf", (0.0, 0.05))
L2 = certify.ThreatModel("l2", (0.0, 0.02))


def bound(method: str, threat: certify.ThreatModel = LINF, row: int = 1, **settings) -> Certificate:
    [one] = certify.bound(CLF, X[row : row + 1], Y[row : row + 1], threat=threat, method=method, **settings)
    assert one.radius > 0
    return one


@pytest.fixture(scope="module")
def complete() -> Certificate:
    [one] = certify.verify(CLF, X[1:2], Y[1:2], threat=LINF, gap=0.05, timeout=20)
    assert one.evidence.falsified is not None
    return one


def refuted(certificate: Certificate, clf: Classifier = CLF, x: torch.Tensor = X[1]) -> dict[str, str]:
    return {one.claim: one.said for one in network_claims(certificate, clf, x) if one.standing is Standing.REFUTED}


def still_open(certificate: Certificate, clf: Classifier = CLF, x: torch.Tensor = X[1]) -> dict[str, str]:
    return {one.claim: one.said for one in network_claims(certificate, clf, x) if one.standing is Standing.OPEN}


def altered(certificate: Certificate, **evidence) -> Certificate:
    return replace(certificate, evidence=replace(certificate.evidence, **evidence))


def farther(certificate: Certificate, factor: float) -> Certificate:
    """The same certificate with another radius, in every place where the record states it."""
    radius = certificate.radius * factor
    if certificate.method != "complete":
        return replace(certificate, radius=radius)
    return replace(certificate, radius=radius, evidence=replace(certificate.evidence, certified=radius))


@pytest.mark.parametrize(
    ("threat", "settings"),
    [
        (LINF, {}),
        (L2, {}),
        (certify.ThreatModel("l1", (0.0, 0.05)), {}),
        (replace(LINF, scale=SCALE), {}),
        (LINF, {"claim": "float32"}),
    ],
    ids=["linf", "l2", "l1", "scaled", "float32"],
)
@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "auto"])
def test_bounds_made_in_a_batch_are_confirmed_one_by_one_from_their_records(method, threat, settings):
    for x, made in zip(X, certify.bound(CLF, X, Y, threat=threat, method=method, **settings), strict=True):
        claims = network_claims(Certificate.from_dict(json.loads(json.dumps(made.to_dict()))), CLF, x)
        assert {one.standing for one in claims} == {Standing.CONFIRMED}
        assert {one.claim for one in claims} >= {"input digest", "model digest", "prediction", "margins", "radius"}
        assert {one.subject for one in claims} == {f"input {made.index}, {method}"}


def test_a_lipschitz_certificate_and_a_complete_one_are_confirmed(complete):
    for made, claims in ((bound("lipschitz", L2), {"layers", "constants"}), (complete, {"bracket", "distance"})):
        found = network_claims(made, CLF, X[1])
        assert {one.standing for one in found} == {Standing.CONFIRMED}
        assert {one.claim for one in found} >= claims | {"radius"}


@pytest.mark.parametrize("by", [5e-10, 1e-11])
def test_a_quotient_is_never_above_the_derived_one(by):
    made = bound("lipschitz", L2)
    for changes in ({"margins": 1 + by}, {"constants": 1 / (1 + by)}):
        [(name, factor)] = changes.items()
        more = altered(made, **{name: tuple(one * factor for one in getattr(made.evidence, name))})
        assert list(refuted(replace(more, radius=more.evidence.radius))) == ["radius"]


def test_images_and_declared_radii_are_confirmed(complete):
    [decided] = certify.verify(CLF, X[1:2], Y[1:2], threat=LINF, timeout=20)
    assert decided.radius == 0.05
    assert not refuted(decided)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval().requires_grad_(False)
    for number, tensor in enumerate(module.state_dict().values()):
        tensor.copy_(torch.as_tensor(seeded_generator("image", number).normal(size=tuple(tensor.shape))))
    clf, image = Classifier(module, num_classes=3), X[1].reshape(1, 2, 2).repeat(1, 2, 2)
    [one] = certify.bound(clf, image[None], threat=LINF, method="alpha-crown")
    assert {claim.standing for claim in network_claims(one, clf, image)} == {Standing.CONFIRMED}


@pytest.mark.parametrize("factor", [1.01, 3.0])
@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "lipschitz", "complete"])
def test_a_radius_that_was_made_larger_is_refuted(method, factor, complete):
    made = complete if method == "complete" else bound(method, L2 if method == "lipschitz" else LINF)
    if method == "complete":
        factor *= 1.1  # the proof may show a little more than was asked
    if method == "lipschitz":  # a record whose evidence does not show the radius is refused when it is read
        made = altered(made, constants=tuple(one / factor for one in made.evidence.constants))
        made, factor = replace(made, radius=made.evidence.radius), 1.0
    found = refuted(farther(made, factor))
    assert "radius" in found
    assert found["radius"].startswith(
        {"lipschitz": "margins over constants prove", "complete": "the proof does not show"}.get(method, "within linf")
    )


@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "lipschitz", "complete"])
def test_a_radius_that_was_made_smaller_is_refuted_though_it_is_true(method, complete):
    """It is not the radius that this evidence was made for."""
    made = complete if method == "complete" else bound(method, L2 if method == "lipschitz" else LINF)
    found = refuted(farther(made, 0.8))
    [(claim, said)] = found.items()
    assert (claim, "derived again" in said or "prove" in said or "gap 0.05" in said) in {
        ("margins", True),
        ("radius", True),
        ("bracket", True),
    }


def test_margins_are_the_recorded_ones_to_the_last_digits():
    made = bound("crown")
    first, *rest = made.evidence.margins
    for margins in ((first * 1.001, *rest), (first * 0.999, *rest), (first + 1e-6, *rest), (*rest, first), (first,)):
        found = refuted(altered(made, margins=margins))
        assert list(found) == ["margins"]
    assert not refuted(altered(made, margins=(first * (1 + 1e-13), *rest)))
    assert "over class" in refuted(altered(made, margins=(first * 1.001, *rest)))["margins"]
    assert "this network has 2" in refuted(altered(made, margins=(first,)))["margins"]


def test_margins_that_are_no_numbers_are_not_confirmed(monkeypatch):
    made = bound("crown")
    monkeypatch.setattr("certify.checker.margins.rechecked_margins", lambda *_, **__: (float("nan"), 1.0))
    found = refuted(made)
    assert "margin nan" in found["radius"]
    assert "margins" in found


def test_slopes_of_another_network_are_refuted():
    one, other = (network(key, nn.Linear(8, 8), nn.ReLU()) for key in ("deep", "deep too"))
    wide = Classifier(nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)).eval(), num_classes=3)
    made, foreign, stranger = (
        certify.bound(clf, X[1:2], threat=LINF, method="alpha-crown")[0] for clf in (one, other, wide)
    )
    assert not refuted(made, one)
    assert "derived again" in refuted(altered(made, slopes=foreign.evidence.slopes), one)["margins"]
    assert "another network" in refuted(altered(made, slopes=stranger.evidence.slopes), one)["radius"]
    assert "cut or changed" in refuted(altered(made, slopes=made.evidence.slopes[:-8]), one)["radius"]
    assert "unknown" in refuted(altered(bound("crown"), bound_method="crow"))["radius"]


def test_a_box_or_a_norm_other_than_the_one_bounded_in_is_refuted():
    made = bound("crown", row=2)
    assert "input box" in refuted(altered(made, input_box=(0.2, 0.8)), x=X[2])
    assert "input box" in refuted(replace(made, threat=replace(made.threat, input_box=None)), x=X[2])
    assert refuted(replace(made, threat=replace(made.threat, norm="l2")), x=X[2])
    assert refuted(replace(made, threat=replace(made.threat, scale=SCALE)), x=X[2])
    quotient = replace(bound("lipschitz", L2), threat=L2)
    unscaled = replace(quotient, threat=replace(L2, scale=SCALE))
    assert "scaled l2" in refuted(unscaled)["radius"]


def test_a_swapped_model_is_named_and_so_is_one_whose_digest_was_written_into_the_record(complete):
    other = network("other")
    for made in (bound("crown"), bound("alpha-crown"), bound("lipschitz", L2), complete):
        found = refuted(made, other)
        assert list(found) == ["model digest"]
        assert other.digest[:12] in found["model digest"]
        assert "radius" in still_open(made, other)
        assert set(refuted(replace(made, model_digest=other.digest), other)) & {
            "margins",
            "layers",
            "radius",
            "example",
        }


def test_another_input_is_named_and_so_is_one_whose_digest_was_written_into_the_record(complete):
    digest = input_digest(X[2].numpy())
    for made in (bound("crown"), bound("lipschitz", L2), complete):
        assert list(refuted(made, x=X[2])) == ["input digest"]
        assert refuted(replace(made, input_digest=digest), x=X[2])


def test_another_class_is_refuted(complete):
    for made in (bound("crown"), bound("lipschitz", L2), complete):
        other = (made.prediction + 1) % 3
        said = refuted(replace(made, prediction=other))["prediction"]
        assert said == f"the record says class {other}, the model returns class {made.prediction}"
        assert refuted(replace(made, prediction=7))["prediction"]


def test_norms_and_constants_are_the_ones_computed_again():
    made = bound("lipschitz", L2)
    layer, *others = made.evidence.layers
    smaller = replace(layer, norm=layer.norm * 0.99)
    assert layer.node in refuted(altered(made, layers=(smaller, *others)))["layers"]
    assert "this network has" in refuted(altered(made, layers=tuple(others)))["layers"]
    assert "all outputs" in refuted(altered(made, lipschitz=made.evidence.lipschitz * 0.9))["layers"]
    constants = made.evidence.constants
    assert list(refuted(altered(made, constants=(constants[0] * 0.999, *constants[1:])))) == ["constants"]


def test_a_proof_or_an_example_that_was_changed_is_refuted(complete):
    evidence = complete.evidence
    example = evidence.example.values
    nearer = Example.of(X[1].numpy() + np.float32(0.999) * (example - X[1].numpy()))
    assert "the record says" in refuted(altered(complete, example=nearer))["distance"]
    assert "outside the declared input box" in refuted(altered(complete, example=Example.of(example + 1)))["example"]
    assert "returns the label" in refuted(altered(complete, example=Example.of(X[1].numpy())))["example"]
    assert "distance" in refuted(altered(complete, falsified=evidence.falsified * 1.01))
    other = 3 - complete.prediction - evidence.adversarial_prediction
    assert f"the record says {other}" in refuted(altered(complete, adversarial_prediction=other))["example"]
    assert "cut or changed" in refuted(altered(complete, proof=evidence.proof[:-8]))["radius"]
    assert "an example at" in refuted(farther(complete, 2.0))["bracket"]


def test_declared_radii_were_decided_and_no_others():
    [one] = certify.verify(CLF, X[1:2], Y[1:2], threat=LINF, timeout=20)
    assert "none of them" in refuted(farther(one, 0.9))["bracket"]


def test_a_misclassified_input_is_falsified_by_itself_and_by_nothing_else():
    wrong = [(label + 1) % 3 for label in Y[1:2]]
    [crown] = certify.bound(CLF, X[1:2], wrong, threat=LINF)
    [searched] = certify.verify(CLF, X[1:2], wrong, threat=LINF)
    for made in (crown, searched):
        assert made.verdict is Verdict.FALSIFIED
        assert {one.standing for one in network_claims(made, CLF, X[1])} == {Standing.CONFIRMED}
    right = replace(crown, label=Y[1])
    assert "no example lies" in refuted(right)["verdict"]


def test_what_the_rules_cannot_do_here_stays_open(monkeypatch):
    made = bound("crown")
    for problem, words in (
        (NoRoom("the slopes take too much"), "too much"),
        (UnsupportedOperator("node gelu_3 has no rule"), "gelu_3"),
        (MemoryError("no memory"), "no memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"), "can't allocate"),
    ):

        def refuse(*_, problem=problem, **__):
            raise problem

        monkeypatch.setattr("certify.checker.margins.rechecked_margins", refuse)
        found = still_open(made)
        assert words in found["radius"]
        assert "\n" not in found["radius"]
    function = Classifier(CLF.module, num_classes=3)
    function.module, function.digest = None, made.model_digest
    monkeypatch.undo()
    assert "radius" in still_open(made, function)


def test_claims_about_float32_executions_need_a_network_in_float32():
    double = Classifier(copy.deepcopy(CLF.module).double(), num_classes=3)

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = double.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.double())

    clf = Classifier(Wide().eval(), num_classes=3)
    [one] = certify.bound(clf, X[1:2], threat=LINF)
    assert not refuted(one, clf)
    assert "float64" in refuted(altered(one, claim="float32"), clf)["radius"]


def test_of_a_smoothed_classifier_only_identity_and_size_are_looked_at():
    [one] = certify.smooth(CLF, X[1:2], Y[1:2], threat=certify.ThreatModel("l2", (0.0,)), sigma=0.1, n=1000)
    found = network_claims(one, CLF, X[1])
    assert [claim.claim for claim in found] == ["input digest", "model digest", "input box", "features", "classes"]
    assert {claim.standing for claim in found} == {Standing.CONFIRMED}
    assert "the input has 4" in refuted(altered(one, dimensions=5))["features"]
    assert "model digest" in refuted(one, network("other"))
    assert networks.__all__ == ["box_fault", "network_claims"]
