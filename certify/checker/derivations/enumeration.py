"""Votes of all subsets: the radius follows from their counts, and the model is asked about every subset again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, RunSettings, evidence_of
from certify.checker.laws import LAWS, most_changed
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence import EnumerationEvidence, subsets
from certify.core.verdict import Verdict

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["EnumerationDerivation"]


class EnumerationDerivation(Derivation):
    """Radii from the counts of all votes (Levine and Feizi 2020), and the counts from the model."""

    with_model = ("features", "votes")
    translated = ("null",)
    statement = (
        "What is confirmed of enumerated votes: the recorded counts give these radii ({threats}) with certainty, for "
        "the SMOOTHED model, which votes on all subsets of kept positions, and not for the base model. Without model "
        "and data at hand, the counts are taken on trust."
    )

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """One outcome each for ``counts``, ``prediction``, ``noise``, ``radius`` and ``verdict``."""
        return [judged(subject_of(one), claim, said) for one in certificates for claim, said in _faults(one).items()]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The input has as many features as the record says, and every subset the vote that was counted."""
        from certify.checker.subsets import votes_claim

        evidence, subject = evidence_of(certificate, EnumerationEvidence), subject_of(certificate)
        apart = f"the record says {evidence.dimensions}, the input has {x.numel()}"
        same = evidence.dimensions == x.numel()
        return [
            judged(subject, "features", "" if same else apart),
            *([votes_claim(certificate, classifier, x)] if same else []),
        ]

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """Noise, retention and null value."""
        for name, value in evidence_of(certificate, EnumerationEvidence).smoothed.items():
            yield name, value, asked.certifier.get(name)


def _faults(certificate: Certificate) -> dict[str, str]:
    evidence = evidence_of(certificate, EnumerationEvidence)
    votes, law = evidence.votes, LAWS.get(evidence.noise)
    positions, kept = evidence.measure(certificate.threat)
    every = subsets(positions, kept) if kept <= positions else 0
    top = max(votes.counts, key=lambda label: (votes.counts[label], -label), default=None)
    lead = evidence.lead(top)
    shown = most_changed((positions, kept), Fraction(lead, votes.n)) if lead > 0 and every == votes.n else None
    return {
        "counts": _counts(certificate, every),
        "prediction": "" if certificate.prediction == top else f"class {top} has most votes",
        "noise": f"no theorem of {evidence.noise!r} noise is known" if law is None else law.silence(certificate.threat),
        "radius": _radius(certificate, shown),
        "verdict": _verdict(certificate, shown),
    }


def _counts(certificate: Certificate, every: int) -> str:
    votes = evidence_of(certificate, EnumerationEvidence).votes
    if votes.n != every:
        return f"there are {every} subsets, and {votes.n} votes"
    if votes.alpha:
        return "counting everything leaves nothing to chance, and the votes have a share of alpha"
    if certificate.forward_passes != votes.n:
        return f"{votes.n} votes are counted, {certificate.forward_passes} samples were sent through the model"
    return ""


def _radius(certificate: Certificate, shown: int | None) -> str:
    if certificate.radius is None or certificate.radius == shown:
        return ""
    return f"{certificate.radius:g} is claimed, the votes show {'none' if shown is None else shown}"


def _verdict(certificate: Certificate, shown: int | None) -> str:
    enough = shown is not None and shown >= certificate.threat.radii[0]
    due = Verdict.CERTIFIED if enough else Verdict.UNKNOWN
    return "" if certificate.verdict is due else f"the votes show {due}, not {certificate.verdict}"


DERIVATIONS.register("enumeration")(EnumerationDerivation())
