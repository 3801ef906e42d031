"""The answer of two rounds of masks (Xiang, Mahloujifar and Mittal 2022, PatchCleanser)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.core.evidence.masks import MOST_MASKS
from certify.core.values import whole
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.base import DEFENCES, TOGETHER, Hiding, hidden

__all__ = ["TwoRounds"]


@DEFENCES.register("two-rounds")
@dataclass(frozen=True, slots=True)
class TwoRounds(Hiding):
    """A class for any image, from the classes of copies of which one mask, and then two masks, are hidden.

    The masks cover every patch of a side: wherever it is, one of them hides it. First each mask is hidden by itself. If
    all classes agree, that is the answer. Otherwise each mask whose class is not that of the majority is hidden
    together with every other one: if all those classes are its own, that is the answer. If there is none such, it is
    the class of the majority. Of classes with equally many masks the smallest is the majority's.

    Args:
        side: of the patches that the masks cover, in pixels.
        masks: along each axis, at most.
        null: of hidden pixels.

    Raises:
        BadInput: for settings that cannot be right.

    >>> TwoRounds(side=2, masks=3).spans(8)  # each hides 4 pixels: a patch begins at 0 to 6
    ([0, 3, 4], 4)
    """

    kind: ClassVar[str] = "two-rounds"

    side: int
    masks: int = 6
    null: float | None = None

    def __post_init__(self) -> None:
        if whole("side", self.side) < 1:
            raise BadInput(f"masks cover patches of a side of at least one pixel, got {self.side}")
        if whole("masks", self.masks) < 1:
            raise BadInput(f"there is at least one mask along each axis, got {self.masks}")
        self.check_null()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what is no image, patches that are larger, and too many masks to hide in pairs."""
        if len(shape) != 3:
            raise BadInput(f"masks hide parts of images (channels, height, width), got {tuple(shape)}")
        if self.side > min(shape[1:]):
            raise BadInput(f"a patch of side {self.side} is larger than the image of {shape[1]} x {shape[2]} pixels")
        if (count := self.count(shape)) > MOST_MASKS:
            raise BadInput(f"{count:,} masks are hidden in pairs, {MOST_MASKS:,} at most: give fewer along each axis")

    def spans(self, pixels: int) -> tuple[list[int], int]:
        """Where masks begin along an axis of so many pixels, and how many pixels each hides there.

        A patch begins at one of ``pixels - side + 1`` places. A mask of ``side + stride - 1`` pixels covers the patches
        that begin at its first ``stride`` ones. The last mask is moved back to end with the image, which loses none.
        """
        places = pixels - self.side + 1
        stride = -(-places // self.masks)
        length = self.side + stride - 1
        return [min(first, pixels - length) for first in range(0, places, stride)], length

    def count(self, shape: tuple[int, ...]) -> int:
        """The masks."""
        return len(self.spans(shape[1])[0]) * len(self.spans(shape[2])[0])

    def seen(self, shape: tuple[int, ...], which: Tensor) -> Tensor:
        """All pixels outside of a mask."""
        rows, columns = (self._hidden(pixels) for pixels in shape[1:])
        return ~(rows[which // len(columns)].unsqueeze(2) & columns[which % len(columns)].unsqueeze(1))

    def _hidden(self, pixels: int) -> Tensor:
        begins, length = self.spans(pixels)
        first = torch.tensor(begins).unsqueeze(1)
        return (first <= torch.arange(pixels)) & (torch.arange(pixels) < first + length)

    def round(self, classifier: Classifier, x: Tensor, besides: int | None = None) -> list[int]:
        """The class of one image under each mask, together with another mask where that is given; -1 for no class."""
        shape, found = tuple(x.shape), list[int]()
        also = None if besides is None else self.seen(shape, torch.tensor([besides]))
        for which in torch.arange(self.count(shape)).split(TOGETHER):
            seen = self.seen(shape, which) if also is None else self.seen(shape, which) & also
            x = x.to(classifier.device)
            found += classifier.predict(hidden(x, seen.to(x.device), classifier.input_box, self.null)).tolist()
        return found

    def returned(self, classifier: Classifier, x: Tensor) -> int:
        """The class after at most two rounds."""
        return self.after(classifier, x, self.round(classifier, x))[0]

    def after(self, classifier: Classifier, x: Tensor, first: list[int]) -> tuple[int, int]:
        """The answer that follows from the classes of the first round, and how many second rounds it took."""
        counts = Counter(first)
        majority = min(counts, key=lambda label: (-counts[label], label))
        others = [mask for mask, label in enumerate(first) if label != majority]
        for number, mask in enumerate(others, 1):
            if all(label == first[mask] for label in self.round(classifier, x, mask)):
                return first[mask], number
        return majority, len(others)
