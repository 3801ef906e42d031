"""Check a complete certificate from its evidence: replay the proof leaf by leaf."""

from __future__ import annotations

import math

from torch import Tensor

from certify.bounds.choices import posed_over_choices
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.radii.margins import claimable
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.text import unpacked
from certify.complete.question import goals_within
from certify.core.evidence import CompleteEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.errors import BadInput

__all__ = ["rechecked"]


def rechecked(
    graph: Graph,
    x: Tensor,
    kept: int,
    threat: Threat,
    radius: float,
    evidence: CompleteEvidence,
    *,
    deadline: Deadline = NEVER,
    property: Property = TOP_CLASS,
) -> bool:
    """Whether the proof in the evidence shows that class ``kept`` is constant within ``radius`` of one input.

    The evidence is not trusted: it only says where to split and which planes and multipliers to use, and every choice
    of those is sound.

    Args:
        graph: the network, imported in the dtype in which its weights are exact.
        x: the input, (...).
        kept: the class that should stay on top.
        threat: norm, input box and scale.
        radius: in the units of the inputs, finite and not below 0.
        evidence: the certificate's evidence.
        deadline: when to give up.
        property: what has to be kept; ``kept`` is its answer.

    Raises:
        OutOfTime: once the deadline passed.
        BadInput: for a radius that is none, a proof that cannot be read, or one of another network.
        ModelError, UnsupportedOperator: for evidence that claims what cannot be claimed of this network.
    """
    if not 0 <= radius < math.inf:
        raise BadInput(f"a radius is finite and not below 0, got {radius}")
    claimable(graph, evidence.claim)
    if not evidence.proof:
        return False
    graph, inputs, threat = posed_over_choices(graph, x[None], threat)
    region, goals = goals_within(graph, inputs[0], kept, threat, radius, property)
    problem = VerificationProblem(graph, region, goals, evidence.claim, lambda points: None)
    return bool(replayed(problem, unpacked(evidence.proof), deadline=deadline).all())
