"""The margins and constants that a Lipschitz radius is derived from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.evidence.bounds import unproven
from certify.core.schema import Arithmetic, Real
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["LipschitzEvidence", "PartNorm"]


@dataclass(frozen=True, slots=True)
class PartNorm:
    """An upper bound of the spectral norm of an affine part of a network.

    Args:
        node: the result that the part ends in.
        norm: the bound.
        proof: what it was proven from: ``"gram"``, ``"spectrum"`` or ``"absolute"``.
    """

    node: str
    norm: Real
    proof: Literal["gram", "spectrum", "absolute"]


@EVIDENCE.register("lipschitz")
@dataclass(frozen=True, slots=True)
class LipschitzEvidence(Evidence):
    """What a margin's radius was derived from (Tsuzuku et al. 2018), for the network in exact arithmetic.

    Args:
        margins: proven lower bounds of the rows of the specification at the input itself.
        constants: upper bounds of the rows' Lipschitz constants in l2, in the units of the inputs.
        layers: the norms that the constants were multiplied from.
        lipschitz: upper bound of the Lipschitz constant of all outputs together.
        slack: the largest rounding error that was subtracted from a margin.
        dtype: the arithmetic in which the claim was made.

    Raises:
        BadInput: unless there are as many constants as margins, none of them negative or NaN.

    >>> LipschitzEvidence((1.0, 3.0), (2.0, 4.0), (), 4.0, 0.0, "float64").radius
    0.49999999999999994
    """

    margins: tuple[float, ...]
    constants: tuple[Real, ...]
    layers: tuple[PartNorm, ...]
    lipschitz: Real
    slack: Real
    dtype: Arithmetic
    kind: Literal["lipschitz"] = "lipschitz"

    methods = ("lipschitz",)

    def __post_init__(self) -> None:
        if len(self.margins) != len(self.constants) or not all(constant >= 0 for constant in self.constants):
            raise BadInput(f"each of {len(self.margins)} margins has one constant >= 0, got {self.constants}")

    @property
    def radius(self) -> float:
        """The least of margins over constants, each rounded down; not above 0 where a margin is not."""
        pairs = zip(self.margins, self.constants, strict=True)
        quotients = (margin / constant if constant else math.inf for margin, constant in pairs if margin > 0)
        least = min((math.nextafter(quotient, 0.0) for quotient in quotients), default=0.0)
        return least if all(margin > 0 for margin in self.margins) else 0.0

    def fault(self, certificate: Certificate) -> str:
        """The radius is in l2, and at most the quotient of margins and constants."""
        radius = certificate.radius
        if radius is None:
            return ""
        if certificate.norm == "l2" and radius <= self.radius:
            return unproven(self.margins)
        return f"the evidence shows an l2 radius of {self.radius}, not {certificate.norm} {radius}"
