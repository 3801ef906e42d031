"""The classes under pairs of masks that a radius of double masking is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.evidence.votes import nothing
from certify.core.schema import Count, PositiveInt
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["MasksEvidence"]


@EVIDENCE.register("masks")
@dataclass(frozen=True, slots=True)
class MasksEvidence(Evidence):
    """What class the model returns where one mask is hidden, and where two are.

    If it is the same for every mask and every pair of them, the answer of two rounds is that class under every patch
    that some mask hides (Xiang, Mahloujifar and Mittal 2022, Theorem 1).

    Args:
        side: of the patches that the masks cover.
        masks: along each axis, at most.
        null: the value of hidden pixels; None for the middle of the input box.
        height, width: of the image.
        counts: how many copies have each class: first those with one mask, then those with that mask and another one.
        invalid: copies for which the model answered NaN or infinity.

    Raises:
        BadInput: for patches that are larger than the image, or more copies than there are pairs.
    """

    side: PositiveInt
    masks: PositiveInt
    null: float | None
    height: PositiveInt
    width: PositiveInt
    counts: Mapping[Count, Count]
    invalid: Count
    kind: Literal["masks"] = "masks"

    methods = ("masking",)

    def __post_init__(self) -> None:
        found = {int(label): int(count) for label, count in sorted(self.counts.items()) if count}
        object.__setattr__(self, "counts", found)
        if self.side > min(self.height, self.width):
            raise BadInput(f"a patch of side {self.side} is larger than {self.height} x {self.width} pixels")
        if min(found.values(), default=0) < 0 or sum(found.values()) + self.invalid > self.copies:
            raise BadInput(f"{self.copies} copies cannot have the classes {found}")

    @property
    def copies(self) -> int:
        """One for each mask, and one for each ordered pair of masks."""
        count = self._along(self.height) * self._along(self.width)
        return count + count * count

    def _along(self, pixels: int) -> int:
        places = pixels - self.side + 1
        stride = -(-places // self.masks)
        return -(-places // stride)

    def fault(self, certificate: Certificate) -> str:
        """All copies have the class, and the masks cover patches of the radius."""
        label, radius = certificate.prediction, certificate.radius
        if not radius:
            return ""
        if radius > self.side:
            return f"masks for patches of side {self.side} do not cover those of side {radius:g}"
        if label is None or self.counts.get(label, 0) != self.copies:
            return f"not all {self.copies} copies have class {label}: {dict(self.counts)}"
        return ""

    @property
    def defence(self) -> Mapping[str, Any]:
        """The settings of the two rounds."""
        return {"kind": "two-rounds", "side": self.side, "masks": self.masks, "null": self.null}

    @property
    def about(self) -> str:
        """The two rounds."""
        masks = f"at most {self.masks} x {self.masks} masks ({nothing(self.null)}) for patches of side {self.side}"
        return f"the answer of the model, as it is executed, in two rounds of {masks}"
