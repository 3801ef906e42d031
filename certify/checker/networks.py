"""Claims about the network itself, derived again from the network without any search."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounded.memory import NoRoom
from certify.certifiers.deterministic import graph_of
from certify.checker.derivations.base import Derivation, derivation_of, needs_network
from certify.checker.identity import class_claim, confirmed, identity_claims
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.input_box import InputBox
from certify.core.rounding import brief
from certify.core.verdict import Verdict
from certify.device import CPU, as_alone
from certify.errors import BadInput, ModelError, UnsupportedOperator, one_line
from certify.models.classifier import Classifier

__all__ = ["box_fault", "network_claims"]


@as_alone()
def network_claims(certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
    """What a certificate says of one input and one network.

    Every certificate names its input and its model by digest, and its input box must be the model's own. For a smoothed
    classifier, only the number of features and the classes that have votes are compared besides;
    :func:`~certify.checker.replay.replay_claims` samples what it returns. For a proof about the network itself, the
    class must be the one that the network returns, and the radius is derived again as each kind of evidence says in
    :mod:`certify.checker.derivations`.

    NaN confirms nothing. A claim stays open where an operator has no rule or memory is short; it is refuted where the
    evidence does not fit this network.

    Args:
        certificate: the record.
        classifier: the classifier, not smoothed.
        x: the input, (...), on the CPU.

    >>> import certify
    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> [one] = certify.bound(clf, [[0.9, 0.1]], threat=certify.ThreatModel("linf", (0.0, 0.01)))
    >>> print(network_claims(one, clf, torch.tensor([0.9, 0.1]))[-1])
    input 0, crown: radius confirmed
    """
    subject, identity = subject_of(certificate), identity_claims(certificate, classifier, x)
    if not confirmed(identity):
        return [*identity, left_open(subject, "radius", "it is about another input or another model")]
    try:
        classifier = classifier.with_property(certificate.property)
        certificate.threat.check_inputs(x[None].numpy())
    except BadInput as problem:
        return [*identity, judged(subject, "threat model", str(problem))]
    if wrong := _of_no_kind(certificate):
        return [*identity, judged(subject, "radius", wrong)]
    derivation = derivation_of(certificate)
    identity.append(judged(subject, "input box", box_fault(certificate.threat.input_box, classifier.input_box, x)))
    if not needs_network(certificate):
        if derivation is None or certificate.verdict.failed:
            return identity
        return identity + derivation.of_model(certificate, classifier, x)
    claims = [*identity, class_claim(subject, certificate.prediction, classifier, x, certificate.label)]
    if certificate.verdict is Verdict.FALSIFIED:
        claims.append(_falsified(certificate))
    if derivation is None:
        return claims
    claims += derivation.of_model(certificate, classifier, x)
    kept, radius = certificate.prediction, derivation.proven(certificate)
    if radius is None and certificate.radius is not None:
        claims.append(left_open(subject, "radius", "nothing derives it again from its evidence"))
    if kept is None or radius is None:
        return claims
    if kept not in range(classifier.num_classes):
        return [*claims, judged(subject, "radius", f"class {kept} is none of the model's")]
    return claims + _derived(derivation, certificate, kept, radius, classifier, x)


def _of_no_kind(certificate: Certificate) -> str:
    """Why a certificate cannot be about its threat or its property; empty where it can."""
    radius, property = certificate.radius, certificate.property
    if radius is not None and certificate.threat.counted and not radius.is_integer():
        return f"radius {radius} is no whole number, and counts {certificate.threat.measure}"
    return "its property is about no input: it has no target" if property.per_input and property.target is None else ""


def box_fault(recorded: InputBox | None, own: InputBox | None, x: Tensor | None = None) -> str:
    """Why the input box that a claim is about is not the model's own, or does not hold an input; empty where it does.

    A proof holds in the part of a ball that lies inside the box, so a box away from the data would prove anything.
    """
    if recorded != own:
        about, takes = ("all real inputs" if box is None else f"inputs in {box}" for box in (recorded, own))
        return f"the record is about {about}, the model takes {takes}"
    return "" if own is None or x is None else own.fault(x[None].numpy())


def _derived(
    derivation: Derivation, certificate: Certificate, kept: int, radius: float, classifier: Classifier, x: Tensor
) -> list[CheckedClaim]:
    """The claims of a derivation, or what stands in its way."""
    subject = subject_of(certificate)
    try:
        graph = graph_of(classifier.base.on(CPU), tuple(x.shape))  # the numbers are the same wherever they are found
    except ModelError as problem:  # a function, or an operator without a rule
        return [left_open(subject, "radius", str(problem))]
    try:
        with torch.no_grad():
            return derivation.proof_claims(certificate, kept, radius, graph, x.to(CPU))
    except (NoRoom, UnsupportedOperator) as problem:
        return [left_open(subject, "radius", str(problem))]
    except (BadInput, ModelError) as problem:
        return [judged(subject, "radius", str(problem))]
    except (MemoryError, RuntimeError) as problem:  # what torch raises where memory is short
        return [left_open(subject, "radius", one_line(problem))]


def _falsified(certificate: Certificate) -> CheckedClaim:
    """Whether a verdict of falsified rests on another class than the label, or on an example that is near enough."""
    found, least = certificate.finding, certificate.threat.radii[0]
    another = certificate.prediction is not None and certificate.label not in (None, certificate.prediction)
    near = found is not None and found.distance is not None and found.distance <= least
    said = f"the class is not another one than the label, and no example lies within radius {brief(least)}"
    return judged(subject_of(certificate), "verdict", "" if another or near else said)
