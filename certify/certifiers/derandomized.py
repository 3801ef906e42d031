"""Derandomized smoothing against patches (Levine and Feizi 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from typing_extensions import override

from certify.certifiers.base import CERTIFIERS, Shape
from certify.certifiers.defended import OfDefence, Shown
from certify.core.evidence.votes import VotesEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.votes import Votes

__all__ = ["Derandomized"]


@CERTIFIERS.register("derandomized")
@dataclass(frozen=True, slots=True)
class Derandomized(OfDefence):
    """Certify the vote over all copies of an image that show one band of columns, or one block, and hide the rest.

    A patch is seen in few copies, and no other copy changes. So the class stays where it leads by more votes than twice
    as many. Nothing is sampled: the certificate is a proof. The network must be able to tell classes from a band: train
    it with the recipe ``bands``.

    Args:
        size: columns of a band, or the side of a block.
        ablation: ``"band"`` (one copy a column) or ``"block"`` (one a pixel).
        null: the value of hidden pixels; None for the middle of the input box. One outside of the box tells the network
            what is hidden.
        threshold: a copy votes for every class with at least this softmax probability; None for its top class.

    Raises:
        BadInput: for settings that cannot be right.
    """

    size: int = 4
    ablation: str = "band"
    null: float | None = None
    threshold: float | None = None
    method = "derandomized"

    def __post_init__(self) -> None:
        votes = self.defence  # validates the settings
        for name in ("null", "threshold"):
            object.__setattr__(self, name, getattr(votes, name))

    @property
    def defence(self) -> Votes:
        """The vote."""
        return Votes(self.ablation, self.size, self.null, self.threshold)

    def settings(self) -> dict[str, Any]:
        """The settings of the vote."""
        asked = {"size": self.size, "ablation": self.ablation, "null": self.null, "threshold": self.threshold}
        return {"method": self.method, **asked}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The copies, how many see a patch, and what the claim is about."""
        part = f"{self.size} columns" if self.ablation == "band" else f"{self.size} x {self.size} pixels"
        evidence = self._evidence(shape, {})
        return (
            f"derandomized smoothing: {evidence.copies:,} copies that show {part} each, of which a patch of side "
            f"{threat.number(threat.largest)} is seen in at most {evidence.seen(threat.largest):,}; the claim is about "
            "the VOTE over the copies"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse, besides what all such certifiers do, sides that no vote can certify.

        Raises:
            BadInput, ModelError: each in one line.
        """
        OfDefence.check(self, classifier, threat, x)
        shape = tuple(x.shape[1:])
        if self._most(shape) < threat.radii[0]:
            raise BadInput(f"{self._out_of_reach(shape)}; show smaller parts, or declare a smaller side")

    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """Which declared sides no vote can certify."""
        return self._out_of_reach(shape) if threat.largest > self._most(shape) else ""

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        return float(self._most(shape))

    def _most(self, shape: Shape) -> int:
        """The largest side at which a patch cannot take the lead from a class that has all votes."""
        evidence = self._evidence(shape, {})
        return max(side for side in range(min(shape[1:]) + 1) if 2 * evidence.seen(side) <= evidence.copies)

    def _out_of_reach(self, shape: Shape) -> str:
        evidence, most = self._evidence(shape, {}), self._most(shape)
        return (
            f"a patch of side {most + 1} is seen in {evidence.seen(most + 1):,} of {evidence.copies:,} copies, and can "
            f"move the lead by twice as many votes: no side above {most} can be certified"
        )

    def show(self, classifier: Classifier, x: Tensor, threat: Threat) -> Shown:
        """The votes, and the largest side at which the winner keeps its lead."""
        counts = dict(enumerate(self.defence.counts(classifier, x)))
        evidence = self._evidence(tuple(x.shape), counts)
        label = evidence.prediction
        held = [side for side in threat.radii if label is not None and evidence.holds(label, side)]
        return Shown(label, max(held, default=None), evidence, evidence.copies)

    def _evidence(self, shape: Shape, counts: dict[int, int]) -> VotesEvidence:
        _, height, width = shape
        asked = self.ablation, self.size, self.null, self.threshold
        return VotesEvidence(*asked, height, width, counts)  # type: ignore[arg-type]
