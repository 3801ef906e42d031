"""Bring together, input by input, what was certified and what was found. Aggregates alone hide contradictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from certify.core.certificate import Certificate, PublishedEvidence, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.summary import Contradiction
from certify.core.verdict import Verdict
from certify.errors import BadInput

__all__ = ["Joined", "join", "same_model", "sure_radius"]


def sure_radius(certificate: Certificate) -> float | None:
    """The radius that the record shows: of a published one, the smallest that prints like it."""
    if certificate.radius is not None and isinstance(certificate.evidence, PublishedEvidence):
        return certificate.evidence.lowest
    return certificate.radius


def same_model(certificate: Certificate, finding: Finding) -> bool:
    """Whether the attack was on what was certified: the model smoothed with the same noise, or the model itself."""
    evidence = certificate.evidence
    smoothed = (evidence.noise, evidence.sigma) if isinstance(evidence, SmoothingEvidence) else (None, None)
    return smoothed == (finding.settings.get("noise"), finding.settings.get("sigma"))


@dataclass(slots=True)
class Joined:
    """Everything known about one input."""

    certificates: list[Certificate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def correct(self) -> bool:
        """Whether the model, smoothed if smoothing certified it, predicts the label."""
        return any(certificate.correct for certificate in self.certificates)

    def certified(self, method: str | None = None) -> float | None:
        """Largest proven radius around a correct prediction, by one method or by the best; None if there is none."""
        radii = [
            certificate.radius
            for certificate in self.certificates
            if certificate.radius is not None and certificate.correct and method in (None, certificate.method)
        ]
        return max(radii, default=None)

    def sure(self) -> float | None:
        """As :meth:`certified` by the best method, counting only what the record shows."""
        radii = [sure_radius(certificate) for certificate in self.certificates if certificate.correct]
        return max((radius for radius in radii if radius is not None), default=None)

    @property
    def attacked(self) -> float | None:
        """Distance of the nearest verified adversarial example; None if no attack succeeded."""
        return min((finding.distance for finding in self.findings if finding.distance is not None), default=None)

    @property
    def abstained(self) -> bool:
        """Whether no method named a class."""
        return all(certificate.verdict is Verdict.ABSTAIN for certificate in self.certificates)

    def contradictions(self) -> list[Contradiction]:
        """Pairs of a certificate and a verified adversarial example, of the same model, inside its radius."""
        return [
            Contradiction(certificate.index, certificate.method, certificate.radius, finding.attack, finding.distance)
            for certificate in self.certificates
            for finding in self.findings
            if certificate.radius is not None
            and finding.distance is not None
            and same_model(certificate, finding)
            and finding.norm == certificate.norm
            and finding.settings.get("scale") == certificate.threat.scale_digest
            and certificate.prediction == finding.label
            and _inside_box(certificate, finding)
            and finding.distance <= certificate.radius
        ]


def join(certificates: Iterable[Certificate], findings: Iterable[Finding]) -> list[Joined]:
    """One entry for each certified input, in order of position; findings about other inputs are left out.

    Raises:
        BadInput: if two records disagree about the input at a position, its label, or the model.
    """
    joined: dict[int, Joined] = {}
    digests: dict[int, tuple[str, int | None]] = {}
    models: set[str] = set()
    for certificate in certificates:
        entry = joined.setdefault(certificate.index, Joined())
        if any(other.method == certificate.method for other in entry.certificates):
            raise BadInput(f"two {certificate.method} certificates for input {certificate.index}; summarize one run")
        entry.certificates.append(certificate)
        identity = digests.setdefault(certificate.index, (certificate.input_digest, certificate.label))
        if identity != (certificate.input_digest, certificate.label):
            raise BadInput(f"records disagree about input {certificate.index}: they come from different data")
        models.add(certificate.model_digest)
    for finding in findings:
        if finding.index not in joined:
            continue
        if digests[finding.index] != (finding.input_digest, finding.label):
            raise BadInput(
                f"certificate and attack disagree about input {finding.index}: they come from different data"
            )
        joined[finding.index].findings.append(finding)
        models.add(finding.model_digest)
    if len(models) > 1:
        named = ", ".join(sorted(digest[:12] for digest in models))
        raise BadInput(f"the records are about different models ({named}); summarize one model at a time")
    return [joined[index] for index in sorted(joined)]


def _inside_box(certificate: Certificate, finding: Finding) -> bool:
    """Whether the example lies in the box that the certificate is about: an attack may have been given a larger one."""
    box = certificate.threat.input_box
    if box is None or finding.x_adv is None:
        return True
    exact = finding.x_adv.astype(np.float64)
    return bool((exact >= box[0]).all() and (exact <= box[1]).all())
