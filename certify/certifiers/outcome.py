"""From a proven radius to a verdict: one rule for every method."""

from __future__ import annotations

from certify.core.rounding import brief, round_down
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict

__all__ = ["settle"]


def settle(radius: float | None, threat: Threat, otherwise: Verdict) -> tuple[Verdict, float | None, str]:
    """Verdict, radius and reason for a proven radius (None: nothing proven, and ``otherwise`` says why).

    Certified means certified *for this threat model*: the radius reaches the smallest declared one. Declare 0 to keep
    every proven radius. What falls short is unknown, not certified with a smaller radius that nobody asked about.

    >>> from certify import ThreatModel
    >>> settle(0.1, ThreatModel("l2", (0.25, 0.5)), Verdict.ABSTAIN)[0]
    <Verdict.UNKNOWN: 'unknown'>
    """
    if radius is None:
        return otherwise, None, ""
    if radius < threat.radii[0]:
        reason = f"proven radius {round_down(radius, 6)} is below the smallest declared radius {brief(threat.radii[0])}"
        return Verdict.UNKNOWN, None, reason
    return Verdict.CERTIFIED, radius, ""
