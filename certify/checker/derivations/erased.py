"""Erase-and-check: the radius follows from how few tokens were erased, and the filter is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from certify.checker.derivations.base import DERIVATIONS, Derivation, evidence_of
from certify.checker.derivations.votes import verdict_fault
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence.erased import ErasedEvidence
from certify.core.rounding import brief

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["ErasedDerivation"]

STATEMENT: Final = (
    "What is confirmed of erased tokens: a text stays flagged ({threats}) by the filter that is asked about all that "
    "is left of it, as it is executed here. They say nothing about the filter alone."
)


class ErasedDerivation(Derivation):
    """A text that is flagged stays so, because what was inserted can be erased again (Kumar et al. 2023, Theorem 1)."""

    unchecked = ()
    with_model = ("erased",)
    statement = STATEMENT

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """The radius is the largest declared one that the erased tokens leave room for."""
        return [claim for one in certificates for claim in _claims(one)]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The fewest tokens that have to be erased, and the class that is returned."""
        from certify.checker.copies import erased_claims

        return erased_claims(certificate, evidence_of(certificate, ErasedEvidence), classifier, x)


def _claims(certificate: Certificate) -> list[CheckedClaim]:
    evidence, subject = evidence_of(certificate, ErasedEvidence), subject_of(certificate)
    named, radius = certificate.prediction, certificate.radius
    room = -1
    if evidence.erased is not None and named == evidence.flagged:
        room = evidence.tokens - evidence.erased if evidence.mode != "block" or evidence.erased == 0 else 0
    held = [one for one in certificate.threat.radii if named is not None and one <= max(room, 0)]
    most = max(held, default=None)
    flagged = (evidence.erased is not None) == (named == evidence.flagged)
    shown = "none of the declared radii" if most is None else f"radius {brief(most)}"
    wrong = "" if radius in (None, most) else f"the erased tokens show {shown}, the record says {brief(radius)}"
    said = f"a text is class {evidence.flagged} exactly where some tokens were erased, the record says {named}"
    return [
        judged(subject, "prediction", "" if flagged else said),
        judged(subject, "radius", wrong),
        judged(subject, "verdict", verdict_fault(certificate, most)),
    ]


DERIVATIONS.register("erased")(ErasedDerivation())
