"""The margins and constants that a Lipschitz radius is derived from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from certify.errors import BadInput

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
    norm: float
    proof: str


@dataclass(frozen=True, slots=True)
class LipschitzEvidence:
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
    constants: tuple[float, ...]
    layers: tuple[PartNorm, ...]
    lipschitz: float
    slack: float
    dtype: str
    kind: Literal["lipschitz"] = "lipschitz"

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

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LipschitzEvidence:
        """Inverse of ``dataclasses.asdict`` after a trip through JSON."""
        rest = {
            **fields,
            "margins": tuple(fields["margins"]),
            "constants": tuple(fields["constants"]),
            "layers": tuple(PartNorm(**layer) for layer in fields["layers"]),
        }
        return cls(**rest)
