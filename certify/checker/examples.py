"""Adversarial examples measured and executed again, and held against the certificates of the same input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.checker.copies import defended_claim
from certify.checker.fresh_noise import Execution, class_on_noise, examined
from certify.checker.identity import class_claim, confirmed, identity_claims
from certify.checker.result import CONTRADICTION, CheckedClaim, judged, left_open, subject_of
from certify.checker.subsets import enumerates, examined_on_all
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.rounding import brief, brief_up
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import INVALID, Classifier

__all__ = ["example_claims", "executed_claims"]

DISTANCE_RTOL: Final = 1e-12
"""Relative difference allowed between two float64 distances whose terms were summed in different orders."""


def example_claims(
    finding: Finding,
    certificates: Sequence[Certificate],
    classifier: Classifier,
    x: Tensor,
    threat: Threat,
    *,
    seed: int = 0,
) -> list[CheckedClaim]:
    """What a finding says of its example, and whether that contradicts a certificate of the same input and model.

    A finding without an example names the class that the model returns at the input itself, which is executed. For a
    plain classifier that class must be the label, because a misclassified input is its own example. A finding that says
    that the attack was not carried out claims nothing of the model.

    A finding with an example claims that the example lies in the input box, at the stated distance (float64, rounded
    up), within the stated radius, and that this radius is a declared one. The example is executed: a plain classifier
    must return the stated class there, and not the label. A smoothed classifier is examined on fresh noise, at the
    recorded alpha, with the recorded number of samples (at most 10,000) and, where they do not decide, with 16 times
    as many. The claim is refuted only where the samples show that the label wins after all; otherwise it stays open.

    A certificate is refuted, under its own name, if the example lies inside its radius and box and the model returns
    another class there than the certified one.

    Args:
        finding: the record. Complete certificates bring one of their own, :attr:`Certificate.finding`.
        certificates: those of the same input, by any method.
        classifier: the classifier, not smoothed.
        x: the input, (...), on the CPU.
        threat: the threat model of the run.
        seed: names the fresh noise. Whoever wrote the records should not have chosen it.
    """
    subject, identity = subject_of(finding), identity_claims(finding, classifier, x)
    if finding.error:
        return identity
    if finding.x_adv is None:
        return [*identity, *(_without(finding, classifier, threat, x, seed) if confirmed(identity) else [])]
    if not confirmed(identity):
        return [*identity, left_open(subject, "example", "it is about another input or another model")]
    try:
        threat.check_inputs(x[None].numpy())
    except BadInput as problem:
        return [*identity, judged(subject, "threat model", str(problem))]
    if wrong := _misplaced(finding, x, threat):
        return [*identity, judged(subject, "example", wrong)]
    executed = _execute(finding, finding.x_adv, classifier, threat, x, seed)
    against = [
        judged(subject_of(one), CONTRADICTION, said)
        for one in certificates
        if (said := _contradiction(one, finding, x, executed))
    ]
    return [*identity, *_stated(finding, x, threat, classifier), *executed.claims, *against]


def _without(finding: Finding, classifier: Classifier, threat: Threat, x: Tensor, seed: int) -> list[CheckedClaim]:
    """What a finding without an example says of the input itself."""
    subject, named = subject_of(finding), finding.prediction
    if enumerates(finding):
        return examined_on_all(finding, classifier, threat, x, None).claims
    if "noise" in finding.settings:
        return [class_on_noise(finding, classifier, threat, x, seed)]
    if "defence" in finding.settings:
        return [defended_claim(subject, named, finding.settings["defence"], classifier, x)[0]]
    own = f"class {named} is not the label, so that the input is its own example, and the record has none"
    wrong = "" if named in (finding.label, None) else own
    return [class_claim(subject, named, classifier, x, finding.label), judged(subject, "example", wrong)]


def executed_claims(finding: Finding, classifier: Classifier, x: Tensor, threat: Threat) -> list[CheckedClaim]:
    """Place, distance, radius and class of the example of a finding known to be about this input and this model."""
    if finding.x_adv is None:
        return []
    if wrong := _misplaced(finding, x, threat):
        return [judged(subject_of(finding), "example", wrong)]
    executed = _execute(finding, finding.x_adv, classifier, threat, x, 0)
    return [*_stated(finding, x, threat, classifier), *executed.claims]


def _misplaced(finding: Finding, x: Tensor, threat: Threat) -> str:
    """Why the example is no input that the adversary may choose, in words; empty if it is one."""
    example = finding.x_adv
    assert example is not None
    if example.shape != tuple(x.shape):
        return f"it has shape {example.shape}, the input has {tuple(x.shape)}"
    if not np.isfinite(example).all():
        return "it contains NaN or infinity"
    if not np.array_equal(example, example.astype(np.float32)):
        return "its values are no float32 numbers, in which the model is executed"
    return "" if threat.input_box is None else threat.input_box.fault(example[None])


def _stated(finding: Finding, x: Tensor, threat: Threat, classifier: Classifier) -> list[CheckedClaim]:
    """Threat model, distance and radius, as a finding states them."""
    subject, radius, stated = subject_of(finding), finding.radius or 0.0, finding.distance or 0.0
    named = {name: finding.settings.get(name) for name in ("scale", "threat", "property", "target")}
    about: dict[str, Any] = {"norm": finding.norm, "radii": finding.radii, **named}
    asked = {
        "norm": threat.norm,
        "radii": threat.radii,
        **dict.fromkeys(named),
        **threat.named,
        **classifier.property.named,
    }
    other = [f"the finding's {name} is {about[name]}, the run's {asked[name]}" for name in about]
    differing = [said for said, name in zip(other, about, strict=True) if about[name] != asked[name]]
    assert finding.x_adv is not None
    distance = threat.distance(x.numpy(), finding.x_adv)
    apart = not abs(distance - stated) <= DISTANCE_RTOL * stated  # also true for an infinite distance
    said = f"it lies at {threat.measure} distance {brief_up(distance)}, the record says {brief_up(stated)}"
    declared = radius in threat.radii or radius == stated > threat.largest
    outside = "" if distance <= radius * (1 + DISTANCE_RTOL) else f"the example lies outside of radius {radius}"
    return [
        judged(subject, "threat model", "; ".join(differing)),
        judged(subject, "distance", said if apart else ""),
        judged(subject, "radius", outside or ("" if declared else f"radius {radius} is none of the declared ones")),
    ]


def _execute(
    finding: Finding, x_adv: NDArray[np.floating], classifier: Classifier, threat: Threat, x: Tensor, seed: int
) -> Execution:
    """Ask the model that was attacked about the input and its example."""
    example, subject, named = torch.from_numpy(x_adv).float(), subject_of(finding), finding.adversarial_prediction
    if enumerates(finding):
        return examined_on_all(finding, classifier, threat, x, example)
    if "noise" in finding.settings:
        return examined(finding, classifier, threat, x, example, seed)
    if "defence" in finding.settings:
        return _defended(finding, classifier, x, example)
    returned, wrong = int(classifier.answers(example[None], torch.tensor([finding.label]))[0]), ""
    if returned == INVALID:
        wrong = "the model returns NaN or infinity there, which is no class"
    elif returned == finding.label:
        wrong = f"the model returns the label, class {returned}, there"
    elif returned != named:
        wrong = f"the model returns class {returned} there, the record says {named}"
    claims = [class_claim(subject, finding.prediction, classifier, x, finding.label), judged(subject, "example", wrong)]
    return Execution(claims, lambda one: returned not in (one, INVALID))


def _defended(finding: Finding, classifier: Classifier, x: Tensor, example: Tensor) -> Execution:
    """Ask the defended model that was attacked."""
    settings, subject = finding.settings["defence"], subject_of(finding)
    own, _ = defended_claim(subject, finding.prediction, settings, classifier, x)
    there, returned = defended_claim(subject, finding.adversarial_prediction, settings, classifier, example)
    wrong = there.said or (f"the model returns the label, class {returned}, there" * (returned == finding.label))
    return Execution([own, judged(subject, "example", wrong)], lambda one: returned not in (one, INVALID))


def _contradiction(certificate: Certificate, finding: Finding, x: Tensor, executed: Execution) -> str:
    """Why an executed example refutes a certificate, in words; empty where it does not."""
    radius, kept, threat = certificate.radius, certificate.prediction, certificate.threat
    evidence, settings = certificate.evidence, finding.settings
    smoothed, defence = (None, None) if evidence is None else (evidence.smoothed, evidence.defence)
    same_input = certificate.input_digest == finding.input_digest
    same = same_input and certificate.model_digest == finding.model_digest and finding.of_model(smoothed)
    same = same and settings.get("defence") == defence
    if certificate.property.named_by(settings) is False:
        return ""
    if radius is None or kept is None or not same or _misplaced(finding, x, threat):
        return ""
    assert finding.x_adv is not None
    distance = threat.distance(x.numpy(), finding.x_adv)
    if distance > radius or not executed.loses(kept):
        return ""
    return (
        f"{finding.attack} has an example at {threat.measure} distance {brief_up(distance)}, where another class than "
        f"{kept} is returned, inside the radius {brief(radius)} certified by {certificate.method}"
    )
