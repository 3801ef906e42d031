"""Certified radii in another norm: lines below the table and never a column of it, since they only follow from it."""

from __future__ import annotations

from dataclasses import replace

from certify.core.norms import check_norm, convert_radius
from certify.core.summary import Converted, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput

__all__ = ["converted"]


def converted(summary: Summary, to: str) -> Summary:
    """The same summary with the largest ball in another norm that each declared one above 0 contains.

    Raises:
        BadInput: for an unknown norm, radii in a scaled norm or of a threat that is no ball, or where the records do
            not say how many features an input has.
    """
    norm, dimensions = check_norm(to), summary.dimensions
    threat = summary.threat
    if not isinstance(threat, ThreatModel):
        raise BadInput(f"only radii of balls can be converted between norms, these are {threat.measure}")
    if threat.scale is not None:
        raise BadInput("radii in a scaled norm have no single radius in another norm: certify in that one")
    if dimensions is None:
        raise BadInput("these records do not say how many features an input has; only smoothing runs can be converted")
    return replace(
        summary,
        converted=tuple(
            Converted(threat.norm, radius, norm, convert_radius(radius, threat.norm, norm, dimensions), dimensions)
            for radius in threat.radii
            if radius > 0
        ),
    )
