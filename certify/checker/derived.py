"""What follows from certificates alone, without model, data or torch; and what all that proves, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from certify.checker.checked import Checked, Standing, judged, subject_of
from certify.checker.published import published_claims
from certify.checker.smoothing import smoothing_claims
from certify.core.certificate import Certificate, PublishedEvidence, SmoothingEvidence
from certify.core.rounding import brief_up

__all__ = ["derived_claims", "needs_network", "statement"]


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
