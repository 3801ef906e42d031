"""Proofs by bound propagation, derived again in float64 with error terms: one pass, or one for each leaf of a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.radii.recheck import rechecked_margins
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.complete.proofs.recheck import rechecked
from certify.core.certificate import BoundEvidence, Certificate, CompleteEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief_up

__all__ = ["AGREEMENT_RTOL", "differing", "largest_score", "leaf_claims", "margin_claims"]

AGREEMENT_RTOL: Final = 1e-9
"""Difference allowed between recorded numbers and those derived again, relative to the largest score: float64 sums may
have been taken in another order. Any larger change of a radius changes the margins by more than this."""


def margin_claims(
    certificate: Certificate, evidence: BoundEvidence, kept: int, radius: float, graph: Graph, x: Tensor
) -> list[CheckedClaim]:
    """Whether the margins of class ``kept`` at a radius are the recorded ones, and positive.

    Raises:
        BadInput: for evidence of another network.
        ModelError, UnsupportedOperator: for evidence that claims what cannot be claimed of this network.
    """
    subject, threat = subject_of(certificate), certificate.threat
    box = f"the margins were bounded in {evidence.input_box}, the threat model says {threat.input_box}"
    property = certificate.property
    allowed = AGREEMENT_RTOL * largest_score(graph, x)
    tried = []
    for way in graph.ways:
        derived = rechecked_margins(way, x, kept, threat, radius, evidence, property=property)
        tried.append((derived, differing("margin", kept, evidence.margins, derived, allowed, property)))
        if not tried[-1][1]:
            break
    derived, wrong = min(tried, key=lambda one: bool(one[1]))  # those that agree, or else the first
    return [
        judged(subject, "input box", "" if evidence.input_box == threat.input_box else box),
        judged(subject, "margins", wrong),
        judged(
            subject, "radius", _not_positive(derived, kept, f"within {threat.measure} {brief_up(radius)}", property)
        ),
    ]


def leaf_claims(
    certificate: Certificate, evidence: CompleteEvidence, kept: int, radius: float, graph: Graph, x: Tensor
) -> list[CheckedClaim]:
    """Whether the proof, leaf by leaf, shows class ``kept`` constant within the lower end of a bracket.

    Raises:
        BadInput: for a proof of another network.
        ModelError, UnsupportedOperator: for evidence that claims what cannot be claimed of this network.
    """
    shown = rechecked(graph, x, kept, certificate.threat, radius, evidence, property=certificate.property)
    within = f"within {certificate.threat.measure} {brief_up(radius)}"
    claim = f"class {kept} is constant" if certificate.property == TOP_CLASS else f"inputs {certificate.property}"
    said = "" if shown else f"the proof does not show that {claim} {within}"
    return [judged(subject_of(certificate), "radius", said)]


def differing(
    what: str,
    kept: int,
    recorded: Sequence[float],
    derived: Sequence[float],
    allowed: float,
    property: Property = TOP_CLASS,
) -> str:
    """The first of some recorded numbers, one for each other class, that is not the one derived again, in words."""
    if len(recorded) != len(derived):
        return f"the record has {len(recorded)} {what}s, this network has {len(derived)}"
    for row, (said, found) in enumerate(zip(recorded, derived, strict=True)):
        if not (said == found or abs(said - found) <= allowed):
            over = f"over class {_other(kept, row)}" if property == TOP_CLASS else f"number {row}"
            return f"the {what} {over} is {found:.9g} derived again, {said:.9g} in the record"
    return ""


def largest_score(graph: Graph, x: Tensor) -> float:
    """The largest absolute score of a network at an input (...), in float64."""
    return float(graph.to(torch.float64).forward(x[None].double()).abs().max())


def _not_positive(margins: Sequence[float], kept: int, where: str, property: Property) -> str:
    """The first margin that is not shown to be positive, in words: NaN is not."""
    weak = next((row for row, margin in enumerate(margins) if not margin > 0), None)
    if weak is None:
        return ""
    if property != TOP_CLASS:
        return f"{where}, it is not proven to {property}: margin {margins[weak]:.3g}"
    return f"{where}, class {kept} is not proven to stay above class {_other(kept, weak)}: margin {margins[weak]:.3g}"


def _other(kept: int, row: int) -> int:
    """The class of a row of the margins, which leave out the class itself."""
    return row if row < kept else row + 1
