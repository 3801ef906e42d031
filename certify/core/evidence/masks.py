"""The classes under pairs of masks that a radius of double masking is derived from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.evidence.votes import check_image, nothing
from certify.core.schema import Count, PositiveInt
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["MOST_MASKS", "MasksEvidence", "masks_along"]

MOST_MASKS: Final = 1024
"""All pairs of more masks are over a million passes an input."""


def masks_along(pixels: int, side: int, masks: int) -> int:
    """How many of at most ``masks`` masks cover the patches of a side along an axis of so many pixels.

    >>> masks_along(8, side=2, masks=3), masks_along(8, side=8, masks=3)
    (3, 1)
    """
    places = pixels - side + 1
    stride = -(-places // masks)
    return -(-places // stride)


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
        BadInput: for patches that are larger than the image, more copies than there are pairs, or too many of these.
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
        check_image(self.height, self.width)
        if self._count > MOST_MASKS:
            raise BadInput(f"nobody hides {self._count:,} masks in pairs; {MOST_MASKS:,} are the most")
        if min(found.values(), default=0) < 0 or sum(found.values()) + self.invalid > self.copies:
            raise BadInput(f"{self.copies} copies cannot have the classes {found}")

    @property
    def copies(self) -> int:
        """One for each mask, and one for each ordered pair of masks."""
        return self._count + self._count**2

    @property
    def _count(self) -> int:
        return math.prod(masks_along(pixels, self.side, self.masks) for pixels in (self.height, self.width))

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
