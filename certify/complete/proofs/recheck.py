"""Check a complete certificate from its evidence: replay the proof leaf by leaf, execute the example."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.radii.margins import claimable
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.text import unpacked
from certify.complete.question import changes_class, goals_within
from certify.core.evidence import CompleteEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import Classifier

__all__ = ["rechecked", "reexecuted"]


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
    claimable(graph, evidence.claim, x.device)
    if not evidence.proof:
        return False
    region, goals = goals_within(graph, x, kept, threat, radius, property)
    problem = VerificationProblem(graph, region, goals, evidence.claim, lambda points: None)
    return bool(replayed(problem, unpacked(evidence.proof), deadline=deadline).all())


def reexecuted(classifier: Classifier, x: Tensor, kept: int, threat: Threat, evidence: CompleteEvidence) -> bool:
    """Whether the example in the evidence lies as near to the input as stated and is classified differently.

    Args:
        classifier: executed on the example alone.
        x: the input, (...).
        kept: the class that should change.
        threat: norm, input box and scale.
        evidence: the certificate's evidence.

    Raises:
        BadInput: for an example of another shape.
    """
    if evidence.example is None or evidence.falsified is None:
        return False
    example = torch.from_numpy(evidence.example.values).float()
    return changes_class(classifier, x, example, kept, threat, evidence.falsified)
