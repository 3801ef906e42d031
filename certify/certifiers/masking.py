"""Double masking against patches, for any model (Xiang, Mahloujifar and Mittal 2022, PatchCleanser)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from typing_extensions import override

from certify.certifiers.base import CERTIFIERS, Shape
from certify.certifiers.defended import OfDefence, Shown
from certify.core.evidence.masks import MasksEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.two_rounds import TwoRounds

__all__ = ["Masking"]


@CERTIFIERS.register("masking")
@dataclass(frozen=True, slots=True)
class Masking(OfDefence):
    """Certify the answer that a model gives in two rounds of masks, one of which hides every patch of a side.

    Where all copies with one and with two masks have the same class, no patch changes the answer of the two rounds.
    The model is used as it is. One set of masks, for the largest side, serves all smaller ones: the answer then is one
    and the same at all declared sides.

    Args:
        masks: along each axis, at most: more of them hide less of the image each.
        side: of the patches that the masks cover; None for the largest declared one.
        null: the value of hidden pixels; None for the middle of the input box.

    Raises:
        BadInput: for settings that cannot be right.
    """

    masks: int = 6
    side: int | None = None
    null: float | None = None
    method = "masking"

    def __post_init__(self) -> None:
        checked = TwoRounds(1 if self.side is None else self.side, self.masks, self.null)
        object.__setattr__(self, "null", checked.null)

    @override
    def fitted(self, threat: Threat) -> Masking:
        return replace(self, side=max(1, int(threat.largest))) if self.side is None else self

    @property
    def defence(self) -> TwoRounds:
        """The two rounds.

        Raises:
            BadInput: where nobody has said for which patches.
        """
        if self.side is None:
            raise BadInput("masks cover patches of one side: give side, for example certify.Masking(side=3)")
        return TwoRounds(self.side, self.masks, self.null)

    def settings(self) -> dict[str, Any]:
        """The settings of the two rounds."""
        return {"method": self.method, "masks": self.masks, "side": self.side, "null": self.null}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The masks, how many copies there are, and what the claim is about."""
        defence = self.defence
        (rows, height), (columns, width) = defence.spans(shape[1]), defence.spans(shape[2])
        return (
            f"double masking: {len(rows)} x {len(columns)} masks of {height} x {width} pixels for patches up to side "
            f"{defence.side}, {self._evidence(shape, {}, 0).copies:,} copies at most; the claim is about the answer of "
            "TWO ROUNDS"
        )

    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """Which declared sides the masks do not cover."""
        side = self.defence.side
        return f"the masks are for patches up to side {side}" if threat.largest > side else ""

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        return float(self.defence.side)

    def show(self, classifier: Classifier, x: Tensor, threat: Threat) -> Shown:
        """The classes under the masks, up to the first disagreement."""
        defence = self.defence
        first = defence.round(classifier, x)
        returned, rounds = defence.after(classifier, x, first)
        seen, label = Counter(first), first[0]
        for mask in range(len(first) if len(seen) == 1 else 0):
            seen.update(defence.round(classifier, x, mask))
            if len(seen) > 1:
                break
        invalid = seen.pop(-1, 0)
        evidence = self._evidence(tuple(x.shape), dict(seen), invalid)
        agreed = seen.get(label, 0) == evidence.copies
        held = [side for side in threat.radii if side == 0 or (agreed and side <= defence.side)]
        passes = seen.total() + invalid + rounds * len(first)
        prediction = None if returned < 0 else returned
        return Shown(prediction, max(held, default=None) if prediction is not None else None, evidence, passes)

    def _evidence(self, shape: Shape, counts: dict[int, int], invalid: int) -> MasksEvidence:
        return MasksEvidence(self.defence.side, self.masks, self.null, shape[1], shape[2], counts, invalid)
