"""Lipschitz constants, and the radius that margins prove with them (Tsuzuku et al. 2018), computed again."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.lipschitz import Constants, lipschitz_constants, lipschitz_radii
from certify.bounds.radii.margins import property_rows
from certify.bounds.radii.radius import largest_tried
from certify.checker.margins import AGREEMENT_RTOL, differing, largest_score
from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate, LipschitzEvidence
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel

__all__ = ["SUM_RTOL", "quotient_claims"]

SUM_RTOL: Final = 1e-12
"""Relative amount by which a constant may lie below the one computed again, because sums were reordered."""


def quotient_claims(
    certificate: Certificate, evidence: LipschitzEvidence, kept: int, radius: float, graph: Graph, x: Tensor
) -> list[CheckedClaim]:
    """Whether norms, constants and margins of class ``kept`` are the recorded ones, and the radius their quotient.

    Raises:
        UnsupportedOperator: for an operator without a constant.
    """
    subject, threat = subject_of(certificate), certificate.threat
    if not isinstance(threat, ThreatModel) or threat.norm != "l2" or threat.scale is not None:
        return [judged(subject, "radius", f"Lipschitz constants in l2 prove nothing about {threat.measure}")]
    if certificate.property != TOP_CLASS:
        return [judged(subject, "radius", f"Lipschitz constants say nothing of: {certificate.property}")]
    constants = _constants(graph)
    asked, count = torch.tensor([kept], device=x.device), math.prod(graph.output.shape)
    rows, _ = property_rows(TOP_CLASS, asked, count, torch.float64, x.device)
    found = lipschitz_radii(constants, x[None], rows)
    margins, slopes = found.margins[0].tolist(), found.constants[0].tolist()
    proven = _within(float(found.radius[0]), threat, x.numel())
    # Sums in another order differ by less than twice the rounding error that was subtracted.
    most = ((found.margins + 2 * found.slack) / found.constants).amin() * (1 + SUM_RTOL)
    holds = proven * (1 - AGREEMENT_RTOL) <= radius <= _within(float(most), threat, x.numel())
    said = f"margins over constants prove {brief(proven)}, the record says {radius!r}"
    allowed = AGREEMENT_RTOL * largest_score(graph, x)
    return [
        judged(subject, "layers", _differing_norms(evidence, constants)),
        judged(
            subject, "constants", differing("constant", kept, evidence.constants, slopes, AGREEMENT_RTOL * max(slopes))
        ),
        judged(subject, "margins", differing("margin", kept, evidence.margins, margins, allowed)),
        judged(subject, "radius", "" if holds else said),
    ]


@lru_cache(maxsize=1)
def _constants(graph: Graph) -> Constants:
    return lipschitz_constants(graph.to(torch.float64))


def _within(quotient: float, threat: Threat, features: int) -> float:
    """The radius that a quotient proves: at most the diameter of the box, 0 for NaN, finite for constant scores."""
    if math.isnan(quotient):
        return 0.0
    if quotient > torch.finfo(torch.float32).max:
        quotient = largest_tried(threat, features)
    if threat.input_box is None:
        return quotient
    return min(quotient, threat.input_box.diameter(features))


def _differing_norms(evidence: LipschitzEvidence, constants: Constants) -> str:
    """The first recorded norm that is not the one computed again, in words."""
    computed: dict[str, tuple[str, float]] = {name: (norm.proof, norm.value) for name, norm in constants.layers.items()}
    recorded: dict[str, tuple[str, float]] = {one.node: (one.proof, one.norm) for one in evidence.layers}
    if recorded.keys() != computed.keys() or len(recorded) != len(evidence.layers):
        return f"the record has norms of {', '.join(recorded)}, this network has {', '.join(computed)}"
    computed["all outputs"], recorded["all outputs"] = ("", constants.output), ("", evidence.lipschitz)
    for name, (proof, norm) in computed.items():
        how, said = recorded[name]
        if how != proof or not (said == norm or abs(said - norm) <= AGREEMENT_RTOL * norm):
            return f"the norm of {name} is {norm:.9g} computed again, {said:.9g} in the record"
    return ""
