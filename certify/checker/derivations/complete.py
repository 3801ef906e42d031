"""Complete verification: the proof is replayed leaf by leaf, the example is measured and executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, Proof
from certify.checker.result import CheckedClaim
from certify.core.certificate import Certificate, CompleteEvidence

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["CompleteDerivation"]


class CompleteDerivation(Derivation):
    """A proof on one side of the true radius, an example on the other, as near to each other as the record says."""

    unchecked = ("solver", "subproblems", "reason", "certificate.forward_passes")
    drawn = True

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The ends are in order, and the classifier returns another class at the example."""
        from certify.checker.brackets import bracket_claim
        from certify.checker.examples import executed_claims

        evidence, finding = certificate.evidence, certificate.finding
        assert isinstance(evidence, CompleteEvidence)
        bracket = bracket_claim(certificate, evidence)
        return [bracket, *([] if finding is None else executed_claims(finding, classifier, x, certificate.threat))]

    def proof(self, certificate: Certificate) -> Proof | None:
        """The lower end of the bracket, also where it is below the smallest declared radius."""
        from certify.checker.brackets import proof_claims

        evidence, kept = certificate.evidence, certificate.prediction
        assert isinstance(evidence, CompleteEvidence)
        radius = evidence.certified
        return None if kept is None or radius is None else partial(proof_claims, certificate, evidence, kept, radius)

    def settings(
        self,
        certificate: Certificate,
        certifier: Mapping[str, Any],
        settings: Mapping[str, Any],
        shared: Mapping[str, object],
    ) -> Iterator[Difference]:
        """The gap is the certifier's, or none where that asks for none."""
        yield from super().settings(certificate, {"gap": None, **certifier}, settings, shared)


DERIVATIONS.register("complete")(CompleteDerivation())
