"""The margins and planes that a radius of bound propagation is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from certify.core.evidence.claim import CLAIMS, Claim
from certify.core.values import one_of

__all__ = ["BoundEvidence"]


@dataclass(frozen=True, slots=True)
class BoundEvidence:
    """What a bound-propagation radius was derived from.

    Args:
        bound_method: the method that proves the claim: ``"ibp"``, ``"crown-ibp"``, ``"crown"``, ``"alpha-crown"``, ...
        input_box: the box that the ball was intersected with, or None.
        margins: proven lower bounds of the rows of the specification at the claimed radius, all positive for a
            certificate; otherwise at the smallest declared radius, or at the input itself if a search without error
            terms failed there, which is not repeated with them.
        dtype: the arithmetic in which the claim was made.
        slack: the largest rounding-error term that was subtracted from a margin.
        evaluations: how many bound evaluations the radius search spent on this input.
        claim: what the margins hold for: the network in exact real arithmetic, or every float32 execution as well.
        slopes: where planes were searched for, which ones, packed: the margins follow from them without the search.
            Empty where the method leaves nothing to choose.

    Raises:
        BadInput: for an unknown claim.
    """

    bound_method: str
    input_box: tuple[float, float] | None
    margins: tuple[float, ...]
    dtype: str
    slack: float
    evaluations: int
    claim: Claim = "exact"
    slopes: str = ""
    kind: Literal["bounds"] = "bounds"

    def __post_init__(self) -> None:
        one_of("claim", self.claim, CLAIMS)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BoundEvidence:
        """Inverse of ``dataclasses.asdict`` after a trip through JSON."""
        box = fields["input_box"]
        rest = {**fields, "input_box": None if box is None else (box[0], box[1]), "margins": tuple(fields["margins"])}
        return cls(**rest)
