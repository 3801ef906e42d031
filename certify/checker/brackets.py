"""What a complete search claims: a proof on one side of the true radius, an example on the other."""

from __future__ import annotations

import math

from torch import Tensor

from certify.bounds.graph import Graph
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.complete.proofs.recheck import rechecked
from certify.core.certificate import Certificate, CompleteEvidence
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief, brief_up

__all__ = ["bracket_claim", "proof_claims"]


def proof_claims(
    certificate: Certificate, evidence: CompleteEvidence, kept: int, radius: float, graph: Graph, x: Tensor
) -> list[CheckedClaim]:
    """Whether the proof, leaf by leaf, shows class ``kept`` constant within the lower end of a bracket.

    Raises:
        BadInput: for a proof of another network.
        ModelError, UnsupportedOperator: for evidence that claims what cannot be claimed of this network.
    """
    shown = rechecked(graph, x, kept, certificate.threat, radius, evidence, property=certificate.keeps)
    within = f"within {certificate.threat.measure} {brief_up(radius)}"
    claim = f"class {kept} is constant" if certificate.keeps == TOP_CLASS else f"inputs {certificate.keeps}"
    said = "" if shown else f"the proof does not show that {claim} {within}"
    return [judged(subject_of(certificate), "radius", said)]


def bracket_claim(certificate: Certificate, evidence: CompleteEvidence) -> CheckedClaim:
    """Whether the ends are in order, and as near to each other as the record says."""
    low, high, gap = evidence.certified, evidence.falsified, evidence.gap
    wrong = ""
    if low is not None and high is not None and low >= high:
        wrong = f"it is proven up to {brief(low)}, with an example at {brief_up(high)}"
    elif gap is None and low is not None and low not in certificate.threat.radii:
        wrong = f"declared radii were decided, and {low} is none of them"
    elif gap is None and not evidence.reason and _between(certificate, evidence):
        wrong = "a declared radius lies between its ends, undecided, and the record does not say why"
    elif gap is not None and not evidence.reason and (high is None or high - (low or 0.0) > gap * high):
        wrong = f"its ends are farther apart than the gap {gap:g}, and the record does not say why"
    return judged(subject_of(certificate), "bracket", wrong)


def _between(certificate: Certificate, evidence: CompleteEvidence) -> bool:
    """Whether some declared radius is neither proven nor reached by an example."""
    low = -1.0 if evidence.certified is None else evidence.certified
    high = math.inf if evidence.falsified is None else evidence.falsified
    return any(low < radius < high for radius in certificate.threat.radii)
