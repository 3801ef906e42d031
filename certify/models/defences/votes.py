"""The vote over copies of an image of which all but one band or block is hidden (Levine and Feizi 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from certify.core.values import number, one_of, whole
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.base import DEFENCES, Hiding

__all__ = ["ABLATIONS", "Votes", "strips"]

ABLATIONS: Final = ("band", "block")


def strips(count: int, size: int) -> Tensor:
    """Which of ``count`` entries the strips of a size hold, (count, count): one begins at each entry, cyclically.

    >>> strips(3, 2).int().tolist()
    [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    """
    places = torch.arange(count)
    return (places - places.unsqueeze(1)) % count < size


@DEFENCES.register("votes")
@dataclass(frozen=True, slots=True)
class Votes(Hiding):
    """The class with the most votes; the smallest of those in a tie. Without any vote there is no answer.

    A copy shows one band of columns (width copies) or one square block (height times width copies), with what lies
    beyond the last column or line taken from the first.

    Args:
        ablation: ``"band"`` or ``"block"``: what is left of the image.
        size: columns of a band, or the side of a block.
        null: of hidden pixels.
        threshold: a copy votes for every class with at least this softmax probability; None for its top class.

    Raises:
        BadInput: for settings that cannot be right.
    """

    kind: ClassVar[str] = "votes"

    ablation: str
    size: int
    null: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        one_of("ablation", self.ablation, ABLATIONS)
        if whole("size", self.size) < 1:
            raise BadInput(f"a {self.ablation} has a size of at least one pixel, got {self.size}")
        self.check_null()
        if self.threshold is not None:
            object.__setattr__(self, "threshold", number("threshold", self.threshold))
            if not 0 < self.threshold <= 1:
                raise BadInput(f"the threshold is a probability above 0, got {self.threshold:g}")

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what is no image, and bands or blocks that are larger."""
        if len(shape) != 3:
            raise BadInput(f"bands and blocks are parts of images (channels, height, width), got {tuple(shape)}")
        if self.size > min(shape[1:] if self.ablation == "block" else shape[2:]):
            raise BadInput(f"a {self.ablation} of size {self.size} is larger than the image of {shape[1]} x {shape[2]}")

    def count(self, shape: tuple[int, ...]) -> int:
        """One copy a column, or one a pixel."""
        return shape[2] * (shape[1] if self.ablation == "block" else 1)

    def seen(self, shape: tuple[int, ...], which: Tensor) -> Tensor:
        """The band or block that begins at a column or pixel."""
        _, height, width = shape
        columns = strips(width, self.size)[which % width].unsqueeze(1)
        if self.ablation == "band":
            return columns.expand(-1, height, -1)
        return strips(height, self.size)[which // width].unsqueeze(2) & columns

    @torch.no_grad()
    def counts(self, classifier: Classifier, x: Tensor) -> list[int]:
        """The votes for each class about one image (channels, height, width); a copy with NaN scores has none."""
        votes = torch.zeros(classifier.num_classes, dtype=torch.int64)
        for which in self.batches(x):
            scores = classifier.scores(self.copies(classifier, x.to(classifier.device), which))
            finite = scores.isfinite().all(dim=1, keepdim=True)
            if self.threshold is None:
                chosen = torch.nn.functional.one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
            else:
                chosen = scores.double().softmax(dim=1) >= self.threshold
            votes += (chosen & finite).sum(dim=0).cpu()
        return [int(count) for count in votes]

    def returned(self, classifier: Classifier, x: Tensor) -> int:
        """The class with the most votes."""
        counts = self.counts(classifier, x)
        return counts.index(max(counts)) if any(counts) else -1
