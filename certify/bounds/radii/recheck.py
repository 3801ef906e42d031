"""Check a bound certificate from its evidence: one pass in float64 with error terms, without search."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from certify.bounds.alpha_crown import prove
from certify.bounds.choices import posed_over_choices
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.hints import unpacked
from certify.bounds.radii.margins import MarginBounds, claimable
from certify.bounds.radii.union import by_region, over_union
from certify.core.evidence import BoundEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.errors import BadInput

__all__ = ["rechecked_margins"]


def rechecked_margins(
    graph: Graph,
    x: Tensor,
    kept: int,
    threat: Threat,
    radius: float,
    evidence: BoundEvidence,
    *,
    deadline: Deadline = NEVER,
    property: Property = TOP_CLASS,
) -> tuple[float, ...]:
    """Lower bounds of the margins of class ``kept`` over every other class within ``radius`` of one input.

    The certificate holds if all are above 0. The evidence is not trusted: it only says which method and planes to use,
    and every choice of those is sound.

    Args:
        graph: the network, imported in the dtype in which its weights are exact.
        x: the input, (...).
        kept: the class that should stay on top.
        threat: norm, input box and scale.
        radius: in the units of the inputs, finite and not below 0.
        evidence: the certificate's evidence.
        property: what has to be kept; ``kept`` is its answer.
        deadline: when to give up.

    Raises:
        OutOfTime: once the deadline passed.
        BadInput: for an invalid radius, an unknown method, or planes that do not fit this network.
        ModelError, UnsupportedOperator: if the claim in the evidence cannot be made for this network.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> network = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    >>> _ = network.weight.copy_(torch.eye(2))
    >>> graph, x = import_module(network, torch.zeros(1, 2)), torch.tensor([1.0, 0.5])
    >>> evidence = BoundEvidence("crown", None, (0.1,), "float64", 0.0, 1)
    >>> from certify import ThreatModel
    >>> [margin] = rechecked_margins(graph, x, 0, ThreatModel("linf", (0.2,)), 0.2, evidence)
    >>> 0.0999 < margin < 0.1
    True
    """
    if not 0 <= radius < math.inf:
        raise BadInput(f"a radius is finite and not below 0, got {radius}")
    claimable(graph, evidence.claim)
    # The radius is taken as given; the ball is rounded outward in float64.
    graph, inputs, threat = posed_over_choices(graph, x.unsqueeze(0), threat)
    exact = graph.to(torch.float64)
    classes = torch.tensor([kept], device=x.device)
    margins = MarginBounds.of(exact, inputs, classes, threat, deadline=deadline, property=property)
    first, reach = torch.zeros(1, dtype=torch.long), torch.tensor([radius], dtype=torch.float64, device=x.device)
    with torch.no_grad():
        if not evidence.slopes:
            lower = margins.rows(evidence.bound_method, first, reach, evidence.claim).lower
        else:
            hints, union = unpacked(evidence.slopes), margins.union(first, radius)
            try:
                if len(union) > 1:
                    given = evidence.bound_method, first, union, evidence.claim
                    lower = over_union(margins, *given, by_region(hints)).lower
                else:
                    region = margins.region(first, reach)
                    found = prove(exact, region, margins.C, hints, claim=evidence.claim, deadline=deadline).lower
                    lower = margins.margins(found, first)
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as problem:
                raise BadInput("the slopes of this evidence belong to another network") from problem
    return tuple(lower[0].tolist())
