"""The standard normal quantile, rounded down and verified by ball arithmetic."""

from __future__ import annotations

import math
from typing import Final

from flint import arb

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.balls import sound_root

__all__ = ["isf_down"]

special = later("scipy.special")

TOLERANCE: Final = 5e-15
"""Relative distance from the exact quantile at which Newton steps stop."""

BITS: Final = 128
"""Working precision in bits: next to q = 1/2, where z is 1e-16, 74 of them are left."""


def isf_down(q: float) -> float:
    """A number z with P[N(0, 1) > z] >= q: the inverse survival function, never rounded up.

    Working from q keeps all digits where 1 - q is close to 1. The quantile of floating point is a hint only: the ball
    around the tail of the z returned lies at or above q. It is within 1e-14 of the exact quantile relative to its size,
    next to q = 1/2 too, and exactly 0 at q = 1/2.

    Raises:
        BadInput: unless 0 < q < 1.

    >>> isf_down(0.001)
    3.0902...
    """
    if not 0 < q < 1:
        raise BadInput(f"the normal quantile needs a probability strictly between 0 and 1, got {q}")
    if q == 0.5:
        return 0.0
    level = float(q)

    def probe(z: float) -> tuple[arb, arb]:
        x = arb(z)
        spare = (x / arb(2).sqrt()).erfc() / 2 - level
        return -spare, spare * (2 * arb.pi()).sqrt() * (x * x / 2).exp()

    return sound_root(probe, -float(special.ndtri(level)), (-math.inf, math.inf), -math.inf, TOLERANCE, BITS)
