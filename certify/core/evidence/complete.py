"""The proof and the example between which a complete search has enclosed a radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from certify.core.evidence.claim import CLAIMS, Claim
from certify.core.example import Example
from certify.core.values import one_of
from certify.errors import BadInput

__all__ = ["CompleteEvidence"]


@dataclass(frozen=True, slots=True)
class CompleteEvidence:
    """A bracket of the true radius of one input: proven below, an adversarial example above.

    Args:
        claim: what the proof holds for: the network in exact real arithmetic, or every float32 execution as well.
        dtype: the arithmetic in which the claim was made.
        certified: the largest radius proven, also where it is below the smallest declared one; None for none.
        proof: how the balls of that radius were cut, and the planes and multipliers of each part, packed: the claim
            follows from them without the search. Empty where nothing is proven.
        falsified: distance of the nearest adversarial example found, rounded up; None where none was found.
        example: that example.
        adversarial_prediction: the class returned there.
        solver: what made the proof: ``"ibp"``, ``"crown"``, ``"inputs"``, ``"neurons"``; empty without one.
        subproblems: how many regions were bounded for it.
        timeout: seconds that the search had.
        gap: the width asked for, relative to ``falsified``; None where only declared radii were to be decided.
        seed: what the search drew from.
        reason: why the bracket is not as narrow as asked for; empty where it is.

    Raises:
        BadInput: for an unknown claim, a radius without proof, a distance without example, or the other way round.
    """

    claim: Claim
    dtype: str
    certified: float | None
    proof: str
    falsified: float | None
    example: Example | None
    adversarial_prediction: int | None
    solver: str
    subproblems: int
    timeout: float
    gap: float | None
    seed: int
    reason: str = ""
    kind: Literal["complete"] = "complete"

    def __post_init__(self) -> None:
        one_of("claim", self.claim, CLAIMS)
        if (self.certified is None) != (self.proof == ""):
            raise BadInput(f"a proof belongs to a proven radius, got {self.certified} and {len(self.proof)} characters")
        if len({self.falsified is None, self.example is None, self.adversarial_prediction is None}) != 1:
            raise BadInput("an example has a distance and a prediction: give all of them, or none")
        for end in (self.certified, self.falsified):
            if end is not None and not 0 <= end < float("inf"):
                raise BadInput(f"the ends of a bracket are finite and not below 0, got {end}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CompleteEvidence:
        """Inverse of ``dataclasses.asdict`` after a trip through JSON."""
        example = fields["example"]
        return cls(**{**fields, "example": None if example is None else Example.from_dict(example)})
