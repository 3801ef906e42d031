"""Enough pixels of an image keep their right class: segmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.runs import read_map
from certify.core.values import number, whole
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pixels"]

CLOSE: Final = 0.1
"""Which part of the mean margin of right pixels is close to being lost."""


@PROPERTIES.register("pixels")
@dataclass(frozen=True, slots=True)
class Pixels(Property):
    """A share of the pixels of an image keeps the right class: of a model that gives each pixel one.

    The label map of an image says which class is right at each pixel; without label maps it is the one that the model
    itself gives. The answer is 0 where at least the share of the judged pixels has its right class, and 1 elsewhere; 0
    is right for every image, so that the certified accuracy is the share of images that are segmented well enough
    whatever the adversary does. How many pixels of each are certified is told beside it.

    A model smoothed by noise gives each pixel the class that most samples give it (Fischer et al. 2021).

    Args:
        share: of the judged pixels, above 0 and at most 1.
        ignore: the number that label maps hold where no class is right or wrong; such pixels are not judged.
        truth: the label map, where it is about one image: the text of :func:`~certify.core.runs.map_text`, which
            certificates keep.

    Raises:
        BadInput: for a share outside of (0, 1], an ignored number below 0, or a label map without a judged pixel.

    >>> Pixels(0.75).at("2x2 0*2 1*2").needed
    3
    """

    kind: ClassVar[str] = "pixels"
    like_classes: ClassVar[bool] = False
    under_noise: ClassVar[str] = "at each pixel the class that most samples give it under the noise"
    per_input: ClassVar[bool] = True
    by_pixel: ClassVar[bool] = True
    task: ClassVar[str] = "segmentation"

    share: float = 1.0
    ignore: int | None = None
    truth: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", number("share", self.share))
        if not 0 < self.share <= 1:
            raise BadInput(f"share must be a share of the pixels above 0 and at most 1, got {self.share:g}")
        if self.ignore is not None:
            object.__setattr__(self, "ignore", whole("ignore", self.ignore))
            if self.ignore < 0:
                raise BadInput(f"ignore is a whole number from 0, as label maps hold them, got {self.ignore}")
        if self.truth is not None and not isinstance(self.truth, str):
            raise BadInput(f"truth is the text of a label map, as map_text writes it, got {type(self.truth).__name__}")
        if self.truth is not None and not self.judged.any():
            raise BadInput(f"a label map holds nothing but {self.ignore}, which is ignored: no pixel is judged")

    @property
    def sentence(self) -> str:
        """How many pixels are right."""
        if self.share == 1:
            return "keep the right class at every judged pixel"
        return f"keep the right class at {self.share:.12g} of the judged pixels at least"

    @property
    @override
    def target(self) -> str | None:
        return self.truth

    @property
    @override
    def family(self) -> Pixels:
        return replace(self, truth=None)

    @override
    def at(self, target: float | str) -> Pixels:
        return replace(self, truth=str(target))

    @override
    def word(self, answer: int) -> str:
        return "too few pixels right" if answer else "enough pixels right"

    @override
    def answers(self, classes: int) -> int:
        if classes < 2:
            raise BadInput("pixels is about a model that gives each pixel a class: certify.Segmenter")
        if self.truth is not None and (most := int(self.right[self.judged].max())) >= classes:
            raise BadInput(
                f"a label map holds {most}, and the model's classes are 0 to {classes - 1}: where no class is right, "
                f"say which number stands there, ignore={most}"
            )
        return 2

    @override
    def check_outputs(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise BadInput("pixels is about a model that gives each pixel a class: certify.Segmenter")
        if self.truth is not None and self.right.shape != shape[1:]:
            (height, width), (rows, columns) = self.right.shape, shape[1:]
            raise BadInput(
                f"a label map has {height} x {width} pixels, and the model gives a class to {rows} x {columns}: "
                "both need the same"
            )

    @override
    def wanted(self, label: int) -> int:
        return 0

    @property
    def right(self) -> NDArray[np.int32]:
        """The right class of each pixel (H, W)."""
        if self.truth is None:
            raise BadInput("pixels is about a label map for each image: Pixels(share).at(map_text(labels))")
        return read_map("a label map", self.truth)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """The pixels (H, W) that are judged."""
        return np.ones(self.right.shape, dtype=bool) if self.ignore is None else self.right != self.ignore

    @property
    def needed(self) -> int:
        """The fewest pixels that make up the share, which is taken as the decimal number that it is written as."""
        return math.ceil(Fraction(repr(self.share)) * int(self.judged.sum()))

    def enough(self, right: NDArray[np.bool_]) -> bool:
        """Whether pixels (H, W) are the share: those among them that are judged."""
        return int((right & self.judged).sum()) >= self.needed

    def scores(self, scores: Tensor) -> Tensor:
        """How far the last pixel that is needed is right (B, 2), and 0.

        Slopes are those of a mean over the pixels that are still right, in which those close to being lost count most:
        a single pixel would lead nowhere, and neither would a background that nobody can move.
        """
        self.check_outputs(tuple(scores.shape[1:]))
        right = scores.new_tensor(self.right).long()
        judged = scores.new_tensor(self.judged).bool()
        own = right.where(judged, right.new_zeros(()))[None, None].expand(len(scores), 1, *right.shape)
        rivals = scores.scatter(1, own, float("-inf")).amax(dim=1)
        margins = (scores.gather(1, own).squeeze(1) - rivals)[:, judged]
        last = margins.detach().sort(dim=1, descending=True).values[:, self.needed - 1]
        ahead = margins.clamp(min=0.0)
        close = CLOSE * ahead.detach().mean(dim=1, keepdim=True) + 1e-6
        slopes = (close * (1 + ahead / close).log()).mean(dim=1)
        answers = scores.new_zeros(len(scores), 2)
        answers[:, 0] = last + (slopes - slopes.detach())
        return answers

    @override
    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        self.check_outputs(tuple(scores.shape[1:]))
        right = scores.argmax(dim=1) == scores.new_tensor(self.right).long()
        return ((right & scores.new_tensor(self.judged).bool()).flatten(1).sum(dim=1) < self.needed).long()

    def clauses(self, kept: int, classes: int) -> Clauses:
        """None: a share of pixels is not said by rows of outputs.

        Raises:
            BadInput: always; certifiers that need rows refuse the property by name before.
        """
        raise BadInput("pixels is certified by counts of each pixel's votes, not by rows of outputs")

    @property
    def named(self) -> Mapping[str, Any]:
        """The share, and beside it the label map of an image."""
        digest = Property.named.fget(self.family)  # type: ignore[attr-defined]
        return digest if self.truth is None else {**digest, "target": self.truth}

    def named_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether the settings of a finding name this share; and this label map, where there is one."""
        there = {name: settings[name] for name in ("property", "target") if name in settings}
        return there == dict(self.named) or (self.truth is None and there.get("property") == self.named["property"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the label map where there is one."""
        more = {"ignore": self.ignore, "truth": self.truth}
        return {"property": self.kind, "share": self.share} | {n: one for n, one in more.items() if one is not None}
