"""The proof and the example between which a complete search has enclosed a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from certify.core.evidence.base import CLAIMS, EVIDENCE, Claim, Evidence
from certify.core.example import Example
from certify.core.finding import Finding
from certify.core.schema import Arithmetic, Count, Positive, Probability, Real
from certify.core.values import one_of
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["CompleteEvidence"]


@EVIDENCE.register("complete")
@dataclass(frozen=True, slots=True)
class CompleteEvidence(Evidence):
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
    dtype: Arithmetic
    certified: Real | None
    proof: str
    falsified: Real | None
    example: Example | None
    adversarial_prediction: Count | None
    solver: str
    subproblems: Count
    timeout: Positive
    gap: Probability | None
    seed: int
    reason: str = ""
    kind: Literal["complete"] = "complete"

    methods = ("complete",)
    searched = True

    def __post_init__(self) -> None:
        one_of("claim", self.claim, CLAIMS)
        if (self.certified is None) != (self.proof == ""):
            raise BadInput(f"a proof belongs to a proven radius, got {self.certified} and {len(self.proof)} characters")
        if len({self.falsified is None, self.example is None, self.adversarial_prediction is None}) != 1:
            raise BadInput("an example has a distance and a prediction: give all of them, or none")
        for end in (self.certified, self.falsified):
            if end is not None and not 0 <= end < float("inf"):
                raise BadInput(f"the ends of a bracket are finite and not below 0, got {end}")

    def fault(self, certificate: Certificate) -> str:
        """The radius is the proven end of the bracket."""
        if certificate.radius in (None, self.certified):
            return ""
        return f"radius {certificate.radius} is not the one that was proven, {self.certified}"

    def finding(self, certificate: Certificate) -> Finding | None:
        """The example, or that none was found; None where there is no class to attack."""
        label = certificate.prediction if certificate.label is None else certificate.label
        if label is None:
            return None
        distance, declared = self.falsified, certificate.threat.radii
        asked = {"claim": self.claim, "timeout": self.timeout, "gap": self.gap}
        return Finding(
            index=certificate.index,
            input_digest=certificate.input_digest,
            label=label,
            prediction=certificate.prediction,
            norm=certificate.norm,
            radii=declared,
            attack=certificate.method,
            settings={**asked, **certificate.threat.named, **certificate.property.named},
            seed=self.seed,
            radius=None if distance is None else next((r for r in declared if r >= distance), distance),
            distance=distance,
            x_adv=None if self.example is None else self.example.values,
            adversarial_prediction=self.adversarial_prediction,
            model_digest=certificate.model_digest,
            seconds=certificate.seconds,
            forward_passes=certificate.forward_passes,
        )

    @property
    def subject(self) -> tuple[object, ...]:
        """What the proof holds for."""
        return self.kind, self.claim

    @property
    def executions(self) -> bool:
        """Whether the claim says so."""
        return self.claim == "float32"
