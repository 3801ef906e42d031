"""Adversarial examples: measured and executed again, and held against certificates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.checker.examples import example_claims
from certify.checker.result import Standing
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.norms import distance_up
from certify.models.classifier import Classifier
from certify.smoothing.noise.gaussian import Gaussian

X = torch.tensor([0.6, 0.4, 0.5, 0.5])
SCALE = (1.0, 1.0, 0.0, 2.0)
LINF = certify.ThreatModel("linf", (0.05, 0.15, 0.3), (0.0, 1.0))
L2 = certify.ThreatModel("l2", (0.0, 0.1, 0.25, 0.5), (0.0, 1.0))


def linear(*weight: tuple[float, ...]) -> Classifier:
    layer = nn.Linear(4, len(weight), bias=False).eval()
    layer.weight.data.copy_(torch.tensor(weight))
    return Classifier(layer, num_classes=len(weight))


CLF = linear((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0.2, 0))
"""The larger of the first two features wins: 0.1 away in linf."""


def attacked(threat: certify.ThreatModel = LINF, clf: Classifier = CLF, **settings) -> Finding:
    [one] = certify.attack(clf, X[None], [0], threat=threat, **settings)
    return one


@pytest.fixture(scope="module")
def smoothed() -> Finding:
    one = attacked(L2, noise=Gaussian(0.25))
    assert one.radius == 0.25
    return one


def found(
    finding: Finding,
    standing: Standing = Standing.REFUTED,
    *,
    certificates: tuple[Certificate, ...] = (),
    clf: Classifier = CLF,
    threat: certify.ThreatModel | None = None,
    x: torch.Tensor = X,
) -> dict[str, str]:
    threat = threat or (LINF if finding.norm == "linf" else L2)
    claims = example_claims(finding, certificates, clf, x, threat)
    return {one.claim: one.said for one in claims if one.standing is standing}


def moved(finding: Finding, x_adv: np.ndarray, **stated) -> Finding:
    """The finding with another example, its distance as it is."""
    x_adv = x_adv.astype(np.float32)
    distance = distance_up(X.numpy(), x_adv, finding.norm)
    return replace(finding, **{"x_adv": x_adv, "distance": distance, "radius": finding.radii[-1], **stated})


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_an_untouched_finding_is_confirmed_from_its_record(norm):
    threat = replace(LINF, norm=norm)
    one = Finding.from_dict(json.loads(json.dumps(attacked(threat).to_dict())))
    claims = found(one, Standing.CONFIRMED, threat=threat)
    assert set(claims) == {
        "input digest", "model digest", "threat model", "distance", "radius", "prediction", "example"
    }  # fmt: skip
    assert not found(one, threat=threat)
    assert not found(one, Standing.OPEN, threat=threat)


def test_scales_count_and_frozen_features_stay():
    threat = replace(LINF, scale=SCALE)
    one = attacked(threat)
    assert not found(one, threat=threat)
    assert "scale" in found(one)["threat model"]
    frozen = replace(one, x_adv=X.numpy() + np.float32([0, 0.2, 0.1, 0]))
    assert "distance Infinity" in found(frozen, threat=threat)["distance"]


def test_a_finding_without_an_example_claims_what_it_is_about():
    none = attacked(replace(LINF, radii=(0.05,)))
    assert none.x_adv is None
    assert list(found(none, Standing.CONFIRMED)) == ["input digest", "model digest", "prediction", "example"]
    assert list(found(none, x=X + 0.1)) == ["input digest"]


def test_the_class_at_the_input_is_executed_where_nothing_was_found():
    none = attacked(replace(LINF, radii=(0.05,)))
    for named in (1, 7, None):
        assert "prediction" in found(replace(none, prediction=named))
    assert "its own example" in found(replace(none, prediction=1))["example"]
    assert "its own example" in found(replace(none, label=1))["example"]


def test_the_class_of_a_smoothed_model_is_sampled_where_nothing_was_found():
    none = attacked(replace(L2, radii=(0.01,)), noise=Gaussian(0.25))
    assert none.x_adv is None
    assert not found(none)
    assert "fresh votes" in found(replace(none, prediction=2))["prediction"]
    assert "says no class" in found(replace(none, prediction=None))["prediction"]
    assert "which is none" in found(replace(none, prediction=7))["prediction"]
    assert "sigma" in found(replace(none, settings={"noise": "gaussian"}))["example"]
    silent = Classifier(lambda x: torch.full((len(x), 3), torch.nan), num_classes=3)
    assert not found(replace(none, prediction=None, model_digest=silent.digest), clf=silent)


def test_a_misclassified_input_is_its_own_example():
    [one] = certify.attack(CLF, X[None], [1], threat=LINF)
    assert one.distance == 0
    assert not found(one)


def test_an_example_that_was_moved_is_refuted():
    one = attacked()
    assert "returns the label, class 0" in found(moved(one, X.numpy()))["example"]
    beyond = X.numpy() + np.float32([0, 1, 0, 0])
    assert "outside the declared input box" in found(moved(one, beyond, radius=1.0, distance=1.0))["example"]
    assert "shape (2, 2)" in found(replace(one, x_adv=one.x_adv.reshape(2, 2)))["example"]
    assert "NaN" in found(replace(one, x_adv=np.full(4, np.nan, np.float32)))["example"]
    elsewhere = X.numpy() + 1.5 * (one.x_adv - X.numpy())
    assert "the record says" in found(replace(one, x_adv=elsewhere.astype(np.float32)))["distance"]


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_distance_that_was_changed_is_refuted(factor):
    one = attacked()
    assert list(found(replace(one, distance=one.distance * factor))) == ["distance"]


def test_a_radius_is_a_declared_one_that_holds_the_example():
    one = attacked()
    assert "none of the declared" in found(replace(one, radius=0.2))["radius"]
    far = moved(one, X.numpy() + np.float32([-0.2, 0.2, 0, 0]), radius=0.15, distance=0.15)
    assert set(found(far)) == {"distance", "radius"}
    away = X.numpy() + np.float32([-0.4, 0.4, 0, 0])
    distance = distance_up(X.numpy(), away, "linf")
    beyond = moved(one, away, radius=distance, distance=distance)
    assert not found(beyond), "as complete searches report what lies beyond"
    assert "radii" in found(replace(one, radii=(0.1,)))["threat model"]


def test_other_classes_labels_models_and_inputs_are_refuted():
    one = attacked()
    assert "returns class 1 there, the record says 2" in found(replace(one, adversarial_prediction=2))["example"]
    assert "the label" in found(replace(one, label=1))["example"]
    assert "the record says class 1" in found(replace(one, prediction=1))["prediction"]
    other = linear((1, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0.2, 0))
    assert list(found(one, clf=other)) == ["model digest"]
    assert "example" in found(one, Standing.OPEN, clf=other)
    assert "returns the label" in found(replace(one, model_digest=other.digest), clf=other)["example"]
    assert list(found(one, x=X - 0.01)) == ["input digest"]


def test_a_score_that_is_no_number_is_no_other_class():
    broken = Classifier(lambda x: torch.where(x[:, 1:2] > 0.45, torch.nan, x[:, :2]), num_classes=2)
    claim = replace(attacked(), model_digest=broken.digest)
    assert "NaN" in found(claim, clf=broken)["example"]


def test_an_example_inside_a_certified_radius_refutes_the_certificate_and_names_both():
    one = attacked()
    [crown] = certify.bound(CLF, X[None], [0], threat=LINF, method="crown")
    assert not found(one, certificates=(crown,))
    wide = replace(crown, radius=0.2)
    [claim] = [c for c in example_claims(one, (crown, wide), CLF, X, LINF) if c.claim == "contradiction"]
    assert (claim.subject, claim.standing) == ("input 0, crown", Standing.REFUTED)
    assert "pgd has an example at linf distance" in claim.said
    assert "inside the radius 0.2 certified by crown" in claim.said
    for harmless in (
        replace(wide, model_digest="another"),
        replace(wide, input_digest="another"),
        replace(wide, prediction=1),
        replace(wide, threat=replace(LINF, input_box=(0.5, 0.55))),
    ):
        assert "contradiction" not in found(one, certificates=(harmless,))
    assert "contradiction" in found(one, certificates=(replace(wide, prediction=2),)), "any class but the one there"


def test_what_is_certified_of_the_smoothed_model_is_not_refuted_by_an_attack_on_the_plain_one(smoothed):
    threat = replace(L2, radii=(0.0, 0.1))
    [certificate] = certify.smooth(CLF, X[None], [0], threat=threat, sigma=0.25, n=20_000)
    wide = replace(certificate, radius=0.4)
    assert "contradiction" not in found(smoothed, certificates=(certificate,))
    assert "smoothing" in found(smoothed, certificates=(wide,))["contradiction"]
    assert "contradiction" not in found(attacked(L2), certificates=(wide,))
    other = replace(wide, evidence=replace(wide.evidence, sigma=0.5))
    assert "contradiction" not in found(smoothed, certificates=(other,))


def test_a_smoothed_example_is_examined_on_noise_of_the_checkers_own(smoothed):
    for seed in range(3):
        claims = example_claims(smoothed, (), CLF, X, L2, seed=seed)
        assert {one.standing for one in claims} == {Standing.CONFIRMED}
    assert {one.claim for one in claims} >= {"example", "label's probability", "prediction", "distance"}


def test_a_smoothed_example_at_which_the_label_wins_is_refuted(smoothed):
    step = smoothed.x_adv - X.numpy()
    back = moved(smoothed, X.numpy() + 0.1 * step)
    assert "the label, class 0, is returned there" in found(back)["example"]
    boundary = moved(smoothed, np.float32([0.5, 0.5, 0.5, 0.5]))
    assert "does not decide" in found(boundary, Standing.OPEN)["example"]


def test_other_classes_and_bounds_of_a_smoothed_example_are_refuted(smoothed):
    assert "fresh votes" in found(replace(smoothed, adversarial_prediction=2))["example"]
    assert "fresh votes" in found(replace(smoothed, prediction=2))["prediction"]
    assert "too many" in found(replace(smoothed, p_label_upper=0.2))["label's probability"]
    assert "one half" in found(replace(smoothed, p_label_upper=0.6))["label's probability"]
    assert "not two of 3 classes" in found(replace(smoothed, adversarial_prediction=0))["example"]
    for name, value, words in (("noise", "gausian", "did you mean"), ("alpha", 2.0, "alpha"), ("n", 0, "at least 1")):
        changed = replace(smoothed, settings={**smoothed.settings, name: value})
        assert words in found(changed)["example"]
    missing = {name: value for name, value in smoothed.settings.items() if name != "sigma"}
    assert "sigma" in found(replace(smoothed, settings=missing))["example"]
