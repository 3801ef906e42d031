"""Complete verification: the proof is replayed leaf by leaf, the example is measured and executed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, RunSettings, evidence_of
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate, CompleteEvidence
from certify.core.rounding import brief, brief_up

if TYPE_CHECKING:
    from torch import Tensor

    from certify.bounds.graph import Graph
    from certify.models.classifier import Classifier

__all__ = ["CompleteDerivation"]


class CompleteDerivation(Derivation):
    """A proof on one side of the true radius, an example on the other, as near to each other as the record says."""

    unchecked = ("solver", "subproblems", "reason", "certificate.forward_passes")
    drawn = True

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The ends are in order, and the classifier returns another class at the example."""
        from certify.checker.examples import executed_claims

        finding = certificate.finding
        bracket = judged(subject_of(certificate), "bracket", _bracket_fault(certificate))
        return [bracket, *([] if finding is None else executed_claims(finding, classifier, x, certificate.threat))]

    def proven(self, certificate: Certificate) -> float | None:
        """The lower end of the bracket, also where it is below the smallest declared radius."""
        return evidence_of(certificate, CompleteEvidence).certified

    def proof_claims(
        self, certificate: Certificate, kept: int, radius: float, graph: Graph, x: Tensor
    ) -> list[CheckedClaim]:
        """The proof, leaf by leaf."""
        from certify.checker.margins import leaf_claims

        return leaf_claims(certificate, evidence_of(certificate, CompleteEvidence), kept, radius, graph, x)

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """The gap must be the certifier's, or None where the certifier has none."""
        yield from super().settings(certificate, asked._replace(certifier={"gap": None, **asked.certifier}))


def _bracket_fault(certificate: Certificate) -> str:
    """Why the ends are out of order or farther apart than the record explains; empty where they are as stated."""
    evidence = evidence_of(certificate, CompleteEvidence)
    low, high, gap = evidence.certified, evidence.falsified, evidence.gap
    if low is not None and high is not None and low >= high:
        return f"it is proven up to {brief(low)}, with an example at {brief_up(high)}"
    if gap is None and low is not None and low not in certificate.threat.radii:
        return f"declared radii were decided, and {low} is none of them"
    if evidence.reason:
        return ""
    if gap is None:
        bottom, top = -1.0 if low is None else low, math.inf if high is None else high
        if any(bottom < radius < top for radius in certificate.threat.radii):
            return "a declared radius lies between its ends, undecided, and the record does not say why"
    elif high is None or high - (low or 0.0) > gap * high:
        return f"its ends are farther apart than the gap {gap:g}, and the record does not say why"
    return ""


DERIVATIONS.register("complete")(CompleteDerivation())
