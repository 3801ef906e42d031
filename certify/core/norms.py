"""The three norms of the field, their duals, distances never rounded down and radii never rounded up."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from certify.errors import BadInput

__all__ = ["DUAL", "NORMS", "ORDER", "Norm", "check_norm", "convert_radius", "distance_up"]

Norm = Literal["l1", "l2", "linf"]
NORMS: Final[tuple[Norm, ...]] = ("l1", "l2", "linf")
DUAL: Final[dict[Norm, Norm]] = {"l1": "linf", "l2": "l2", "linf": "l1"}
"""``|<a, v>| <= ||a||_dual * ||v||`` (Hoelder)."""
ORDER: Final[dict[Norm, float]] = {"l1": 1.0, "l2": 2.0, "linf": math.inf}
"""The order of each norm, as torch and numpy take it."""


def check_norm(norm: str) -> Norm:
    """Return ``norm`` if it is one of ``l1, l2, linf``.

    >>> check_norm("l2")
    'l2'
    """
    for known in NORMS:
        if norm == known:
            return known
    raise BadInput(f"unknown norm {norm!r}; use one of {', '.join(NORMS)}")


def distance_up(
    x: NDArray[np.floating], x_adv: NDArray[np.floating], norm: Norm, scale: NDArray[np.float64] | None = None
) -> float:
    """Distance between two inputs in float64, rounded up so that it is never below the exact distance.

    ``x`` and ``x_adv`` have the same shape, without a batch axis; both are taken as the exact values of their floats.
    Differences count in multiples of ``scale``, of that shape too; where it is 0, any difference is infinite. A NaN
    anywhere gives NaN or infinity, which no radius reaches.

    Every float64 operation below is off by at most one part in ``2**53``: one subtraction, at most ``d`` additions and
    three further roundings, hence the factor (Higham 2002, Lemma 3.1).

    >>> distance_up(np.zeros(2), np.array([3.0, 4.0]), "l2") >= 5.0
    True
    >>> distance_up(np.zeros(2), np.array([3.0, 0.0]), "l2", np.array([2.0, 0.0])) >= 1.5
    True
    """
    if x.shape != x_adv.shape:
        raise BadInput(f"cannot measure a distance between shapes {x.shape} and {x_adv.shape}")
    difference = np.abs(x_adv.astype(np.float64) - x.astype(np.float64)).ravel()
    if scale is not None:
        difference = _in_multiples(difference, scale.ravel())
    largest = float(difference.max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    if norm == "linf":
        return math.nextafter(largest, math.inf)
    if norm == "l1":
        total = float(difference.sum())
    else:
        # Scaling by the largest entry keeps squares of tiny differences from vanishing.
        total = largest * math.sqrt(float(np.square(difference / largest).sum()))
    return total * (1.0 + (difference.size + 8) * 2.0**-53)


def _in_multiples(difference: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """``difference / scale``, never rounded down, even where it is too small for a float."""
    moved, fixed = difference != 0, scale == 0
    with np.errstate(over="ignore", under="ignore"):
        quotient = np.nextafter(difference, np.inf) / np.where(fixed, 1.0, scale)
    quotient = np.where(fixed, np.inf, np.nextafter(quotient, np.inf))
    return np.where(moved, quotient, 0.0)


def convert_radius(radius: float, norm: Norm, to: Norm, dimensions: int) -> float:
    """Radius of the largest ball in the norm ``to`` inside the ball of ``radius`` in ``norm``, rounded down.

    In d dimensions ``||v||_p <= d**(1/p - 1/q) ||v||_q`` for p < q, with equality at a corner of the q-ball, and
    ``||v||_p <= ||v||_q`` otherwise (Hoelder). So l2 to linf costs sqrt(d), and l2 to l1 nothing. The comparison that
    decides the last digit is made in exact fractions.

    Args:
        radius: in input units, finite and not negative.
        norm, to: the norm of the radius, and the one asked for.
        dimensions: number of features d of one input.

    Raises:
        BadInput: for a radius or a number of dimensions that cannot be right.

    >>> convert_radius(0.5, "l2", "linf", dimensions=64), convert_radius(0.5, "l2", "l1", dimensions=64)
    (0.0625, 0.5)
    """
    if not 0 <= radius < math.inf:
        raise BadInput(f"cannot convert radius {radius}; it must be finite and not negative")
    if dimensions < 1:
        raise BadInput(f"an input has at least one feature, got {dimensions} dimensions")
    shrink_squared = dimensions ** max(0, int(2 / ORDER[norm] - 2 / ORDER[to]))
    converted = radius / math.sqrt(shrink_squared)
    while Fraction(converted) ** 2 * shrink_squared > Fraction(radius) ** 2:
        converted = math.nextafter(converted, 0.0)
    return converted
