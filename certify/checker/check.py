"""``certify.check``: certificates derived again, from their evidence and, for proofs, the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.checker.checked import Checked, Standing, judged, subject_of
from certify.checker.outcome import Outcome
from certify.checker.published import published_claims
from certify.checker.smoothing import smoothing_claims
from certify.core.certificate import Certificate, PublishedEvidence, SmoothingEvidence
from certify.core.rounding import brief_up
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["check", "derived_claims", "needs_network", "statement"]


def check(certificate: Certificate | Sequence[Certificate], clf: Classifier | None = None, x: Any = None) -> Outcome:
    """Derive every claim of certificates again; the result is true only if all of them are confirmed.

    A smoothing radius follows from the counts alone. A proof is about a network and an input: it needs both.

    Args:
        certificate: one, or several.
        clf: the classifier they are about, not smoothed; its digest is compared with theirs.
        x: their inputs, in order: (B, ...), or (...) for a single certificate; the digests are compared.

    Returns:
        An outcome that is true or false, with the standing of each claim; what could not be derived is not confirmed.

    Raises:
        BadInput: for something that is no certificate, a proof without classifier and input, or another number of
            inputs than certificates.

    >>> from certify.certifiers.smooth import smooth
    >>> from certify.core.threat import ThreatModel
    >>> from certify.models.classifier import Classifier
    >>> clf = Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    >>> threat = ThreatModel("l2", (0.0, 0.25))
    >>> [certificate] = smooth(clf, [[0.9] * 16], [1], threat=threat, sigma=0.5, n=1000)
    >>> bool(check(certificate, clf))
    True
    >>> from dataclasses import replace
    >>> print(*check(replace(certificate, radius=0.9)).refuted)
    input 0, smoothing: radius refuted, 0.9 is above 0.26..., which is all that the counts show
    """
    certificates = [certificate] if isinstance(certificate, Certificate) else list(certificate)
    for one in certificates:
        if not isinstance(one, Certificate):
            raise BadInput(f"expected a certify.Certificate, got {type(one).__name__}: pass what a certifier returned")
    if any(map(needs_network, certificates)) and (clf is None or x is None):
        raise BadInput("a proof is about a network and an input: call certify.check(cert, clf, x)")
    claims = derived_claims(certificates, whole=False)
    if clf is not None:
        claims += _with_classifier(certificates, clf, x)
    return Outcome(tuple(claims), statement=statement(certificates))


def _with_classifier(certificates: Sequence[Certificate], clf: Classifier, x: Any) -> list[Checked]:
    from certify.checker.networks import network_claims
    from certify.models.classifier import need_classifier

    need_classifier(clf)
    if x is None:
        return [_same_model(one, clf.digest) for one in certificates]
    inputs = _inputs(certificates, x)
    if len(inputs) != len(certificates):
        raise BadInput(f"{len(certificates)} certificates and {len(inputs)} inputs: give one input a certificate")
    pairs = zip(certificates, inputs, strict=True)
    return [claim for one, of in pairs for claim in network_claims(one, clf, of)]


def _inputs(certificates: Sequence[Certificate], x: Any) -> Tensor:
    """The inputs as a batch; a single one may come without its batch axis, which its digest tells from one with."""
    from certify.data.batch import as_inputs
    from certify.data.dataset import input_digest

    values = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    alone = len(certificates) == 1
    if alone and (len(values) != 1 or input_digest(values) == certificates[0].input_digest):
        values = values[None]
    return as_inputs(values)


def _same_model(certificate: Certificate, digest: str) -> Checked:
    same = certificate.model_digest == digest
    said = f"the record is about model {certificate.model_digest[:12] or '(none)'}, this model is {digest[:12]}"
    return judged(subject_of(certificate), "model digest", "" if same else said)


def needs_network(certificate: Certificate) -> bool:
    """Whether what a certificate says can only be derived from the network: it is a proof, or says what it returns."""
    return certificate.guarantee.kind == "deterministic" and not certificate.verdict.failed


def derived_claims(certificates: Iterable[Certificate], *, whole: bool = True) -> list[Checked]:
    """What follows from the certificates alone; nothing about those that need the network.

    Args:
        certificates: by any method.
        whole: whether the published ones among them are all lines of their logs.
    """
    claims, published = [], []
    for certificate in certificates:
        if certificate.verdict.failed:
            claims.append(_failure(certificate))
        elif isinstance(certificate.evidence, SmoothingEvidence):
            claims += smoothing_claims(certificate)
        elif isinstance(certificate.evidence, PublishedEvidence):
            published.append(certificate)
    return claims + published_claims(published, whole=whole)


def _failure(certificate: Certificate) -> Checked:
    """A computation that failed left nothing behind, neither a class nor evidence nor samples."""
    subject, claim = subject_of(certificate), "failed computation"
    left = {
        f"class {certificate.prediction}": certificate.prediction,
        "evidence": certificate.evidence,
        f"{certificate.forward_passes:,} samples": certificate.forward_passes or None,
    }
    stated = [name for name, value in left.items() if value is not None]
    if stated:
        return judged(subject, claim, f"nothing was computed, yet it states {' and '.join(stated)}")
    return Checked(subject, claim, Standing.OPEN, certificate.reason or certificate.verdict.sentence)


def statement(certificates: Sequence[Certificate]) -> str:
    """What confirmed claims prove, and what they do not, in a sentence or two."""
    kinds = {type(one.evidence) for one in certificates}
    alphas = [one.alpha for one in certificates if one.alpha is not None]
    threats = " and ".join(sorted({f"{one.threat.measure} ball" for one in certificates}))
    said = []
    if SmoothingEvidence in kinds:
        said.append(
            f"What is confirmed of smoothing: the recorded counts give these radii ({threats}), for the SMOOTHED model "
            f"and not the base model, each false with probability at most {brief_up(max(alphas))} over the noise. That "
            "the counts were drawn from this model is taken on trust where no replay confirms it."
        )
    if PublishedEvidence in kinds:
        said.append(f"Published radii ({threats}) hold no evidence: that they do not contradict their log proves none.")
    if any(map(needs_network, certificates)):
        said.append(
            f"What is confirmed of proofs: they hold for this network ({threats}), in exact real arithmetic or in "
            "every float32 execution as each certificate states, and say nothing about another network or beyond a "
            "radius."
        )
    return " ".join(said)
