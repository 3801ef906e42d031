"""Derandomized smoothing: copies that see a patch are counted one by one, and the model is shown all of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from certify.checker.derivations.base import DERIVATIONS, Derivation, evidence_of
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence.votes import VotesEvidence
from certify.core.rounding import brief

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["VotesDerivation"]

STATEMENT: Final = (
    "What is confirmed of votes over copies: that vote, as it is executed here, keeps its class ({threats}). They say "
    "nothing about the network alone."
)


class VotesDerivation(Derivation):
    """The radius follows from the votes alone; the votes from model and input (Levine and Feizi 2020)."""

    unchecked = ()
    with_model = ("votes",)
    statement = STATEMENT

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """The class has the most votes, and leads by more than any patch of the radius can change."""
        return [claim for one in certificates for claim in _claims(one)]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The votes, as the model gives them again."""
        from certify.checker.copies import votes_claims

        return votes_claims(certificate, evidence_of(certificate, VotesEvidence), classifier, x)


def _claims(certificate: Certificate) -> list[CheckedClaim]:
    evidence, subject = evidence_of(certificate, VotesEvidence), subject_of(certificate)
    named, votes = certificate.prediction, evidence.counts
    best = [label for label, count in votes.items() if count == max(votes.values())]
    right = min(best, default=None)
    wrong = "" if named == right else f"the votes are for class {right}, the record says {named}"
    spent = certificate.forward_passes
    shown = "" if spent == evidence.copies else f"there are {evidence.copies} copies, the record says {spent}"
    held = [side for side in certificate.threat.radii if right is not None and _keeps(evidence, right, side)]
    return [
        judged(subject, "prediction", wrong),
        judged(subject, "copies", shown),
        judged(subject, "radius", _radius_fault(certificate, held)),
        judged(subject, "verdict", verdict_fault(certificate, max(held, default=None))),
    ]


def _radius_fault(certificate: Certificate, held: Sequence[float]) -> str:
    radius = certificate.radius
    if radius is None or radius == max(held, default=None):
        return ""
    most = "none of the declared sides" if not held else f"side {brief(max(held))}"
    return f"the votes show {most}, the record says {brief(radius)}"


def verdict_fault(certificate: Certificate, held: float | None) -> str:
    """Why a verdict is not what class, label and the largest declared side that holds make it; empty where it is."""
    named, label = certificate.prediction, certificate.label
    if named is None:
        right = "abstain"
    elif label not in (None, named):
        right = "falsified"
    else:
        right = "unknown" if held is None else "certified"
    said = certificate.verdict.name.lower()
    return "" if said == right else f"it is {right}, the record says {said}"


def _keeps(evidence: VotesEvidence, label: int, side: float) -> bool:
    """Whether a class stays ahead although every copy that sees a patch changes its vote in the worst way."""
    moved = _touched(evidence.width, evidence.size, int(side))
    if evidence.ablation == "block":
        moved *= _touched(evidence.height, evidence.size, int(side))
    least = evidence.counts[label] - moved
    rivals = {other: count for other, count in evidence.counts.items() if other != label}
    if label > 0:
        rivals.setdefault(0, 0)  # a class without votes that would win a tie
    return least > 0 and all(
        least > count + moved or (least == count + moved and label < other) for other, count in rivals.items()
    )


def _touched(length: int, size: int, side: int) -> int:
    """How many cyclic strips of a size meet an interval of a side: by symmetry the first one, strip by strip."""
    begin = np.arange(length)
    return int(((begin < side) | (begin + size > length)).sum()) if side else 0


DERIVATIONS.register("votes")(VotesDerivation())
