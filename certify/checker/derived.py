"""What follows from certificates alone, without model, data or torch; and what all that proves, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from certify.checker.derivations.base import DERIVATIONS, PROOFS, derivation_of
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.rounding import brief_up

__all__ = ["derived_claims", "needs_network", "statement"]


def needs_network(certificate: Certificate) -> bool:
    """Whether what a certificate says can only be derived from the network: it is a proof, or says what it returns."""
    return certificate.guarantee.kind == "deterministic" and not certificate.verdict.failed


def derived_claims(certificates: Iterable[Certificate], *, whole: bool = True) -> list[CheckedClaim]:
    """What follows from the certificates alone; nothing about those that need the network.

    Args:
        certificates: by any method.
        whole: whether the published ones among them are all lines of their logs.
    """
    claims, of_kind = list[CheckedClaim](), dict[str, list[Certificate]]()
    for certificate in certificates:
        if certificate.verdict.failed:
            claims.append(_failure(certificate))
        elif certificate.evidence is not None:
            of_kind.setdefault(certificate.evidence.kind, []).append(certificate)
    for kind, several in of_kind.items():
        claims += DERIVATIONS[kind].alone(several, whole=whole)
    return claims


def _failure(certificate: Certificate) -> CheckedClaim:
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
    return left_open(subject, claim, certificate.reason or certificate.verdict.sentence)


def statement(certificates: Sequence[Certificate]) -> str:
    """What confirmed claims prove, and what they do not, in a sentence or two."""
    alpha = brief_up(max((one.alpha for one in certificates if one.alpha is not None), default=0.0))
    threats = " and ".join(sorted({one.threat.noun for one in certificates}))
    said = {derivation.statement: None for one in certificates if (derivation := derivation_of(one)) is not None}
    if any(map(needs_network, certificates)):
        said[PROOFS] = None
    return " ".join(one.format(threats=threats, alpha=alpha) for one in said)
