"""Double masking: the masks are shown to cover every patch, and the model is shown all pairs of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from certify.checker.derivations.base import DERIVATIONS, Derivation, evidence_of
from certify.checker.derivations.votes import verdict_fault
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence.masks import MasksEvidence
from certify.core.rounding import brief

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["MasksDerivation"]

STATEMENT: Final = (
    "What is confirmed of masks: the answer in two rounds, as it is executed here, keeps its class ({threats}). They "
    "say nothing about the network alone."
)


class MasksDerivation(Derivation):
    """All copies have one class (Xiang, Mahloujifar and Mittal 2022, Theorem 1)."""

    unchecked = ()
    with_model = ("copies",)
    statement = STATEMENT

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """The radius is the largest declared side that the copies and the masks show."""
        return [claim for one in certificates for claim in _claims(one)]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The classes of the copies, and the answer of the two rounds."""
        from certify.checker.copies import masks_claims

        return masks_claims(certificate, evidence_of(certificate, MasksEvidence), classifier, x)


def _claims(certificate: Certificate) -> list[CheckedClaim]:
    evidence, subject, named = evidence_of(certificate, MasksEvidence), subject_of(certificate), certificate.prediction
    alike = named is not None and evidence.counts == {named: evidence.copies} and not evidence.invalid
    held = [
        side
        for side in certificate.threat.radii
        if named is not None and (side == 0 or (alike and side <= evidence.side))
    ]
    radius, most = certificate.radius, max(held, default=None)
    shown = "none of the declared sides" if most is None else f"side {brief(most)}"
    wrong = "" if radius in (None, most) else f"the copies show {shown}, the record says {brief(radius)}"
    return [
        judged(subject, "radius", wrong),
        judged(subject, "verdict", verdict_fault(certificate, most)),
    ]


DERIVATIONS.register("masks")(MasksDerivation())
