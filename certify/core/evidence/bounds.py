"""The margins and planes that a radius of bound propagation is derived from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from certify.core.evidence.base import CLAIMS, EVIDENCE, Claim, Evidence
from certify.core.input_box import Recorded, check_box
from certify.core.schema import Arithmetic, Count, Real
from certify.core.values import one_of

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["BoundEvidence", "unproven"]


@EVIDENCE.register("bounds")
@dataclass(frozen=True, slots=True)
class BoundEvidence(Evidence):
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
    input_box: Recorded | None
    margins: tuple[float, ...]
    dtype: Arithmetic
    slack: Real
    evaluations: Count
    claim: Claim = "exact"
    slopes: str = ""
    kind: Literal["bounds"] = "bounds"

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_box", check_box(self.input_box))
        one_of("claim", self.claim, CLAIMS)

    def by(self, certificate: Certificate) -> bool:
        """The evidence names the method itself, and ``auto`` is each of them.

        Where nothing is proven beyond the input itself it may be interval arithmetic, which every method asks first.
        """
        first = not certificate.radius and self.bound_method == "ibp"
        return (first or certificate.method in ("auto", self.bound_method)) and Evidence.by(self, certificate)

    def fault(self, certificate: Certificate) -> str:
        """Margins that are not positive prove nothing."""
        return unproven(self.margins) if certificate.radius is not None else ""

    @property
    def subject(self) -> tuple[object, ...]:
        """What the margins hold for."""
        return self.kind, self.claim

    @property
    def executions(self) -> bool:
        """Whether the claim says so."""
        return self.claim == "float32"


def unproven(margins: Sequence[float]) -> str:
    """What is wrong with margins that should all be positive, in words; NaN is not."""
    return "" if all(margin > 0 for margin in margins) else f"a certified input has positive margins, got {margins}"
