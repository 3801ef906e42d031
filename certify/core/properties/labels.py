"""Every label of several is kept: a label is there where its output is above its threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from typing_extensions import override

from certify.core.legible import many
from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.written import numbers
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Labels"]

MOST: Final = 16
"""Labels: an answer says of each whether it is there, so there are 2^16 answers."""


@PROPERTIES.register("labels")
@dataclass(frozen=True, slots=True)
class Labels(Property):
    """An input keeps all its labels: those that it has, and those that it has not.

    A model of several labels returns one number for each, and an input has those whose numbers are above their
    thresholds. The answer is a number whose binary digits say which: 5 is labels 0 and 2. A row of 0 and 1 for each
    input says which are right.

    A model smoothed by noise decides each label by its own votes. The radius is that of the label with most votes
    against it, so one alpha pays for all labels together.

    Args:
        thresholds: one a label, in the units of the outputs: 0.0 for logits, 0.5 for probabilities.

    Raises:
        BadInput: for fewer than two or more than 16 labels, or a threshold that is not finite.

    >>> two = Labels([0.0, 0.5])
    >>> two.against(2, {2: 90, 3: 4, 0: 6})                         # 4 votes for label 0, 6 against label 1
    (4, 6)
    """

    kind: ClassVar[str] = "labels"
    like_classes: ClassVar[bool] = False
    under_noise: ClassVar[str] = "the majority vote for each label under the noise"
    several: ClassVar[bool] = True

    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(numbers("thresholds", self.thresholds)))
        if not 2 <= len(self.thresholds) <= MOST:
            raise BadInput(f"there must be 2 to {MOST} labels, each with a threshold, got {len(self.thresholds)}")
        if not all(map(math.isfinite, self.thresholds)):
            raise BadInput(f"the thresholds of labels are finite numbers, got {self.thresholds}")

    @property
    @override
    def sentence(self) -> str:
        return f"keep all its labels, of {len(self.thresholds)}"

    @override
    def word(self, answer: int) -> str:
        there = [str(label) for label in range(len(self.thresholds)) if answer >> label & 1]
        return f"label {there[0]}" if len(there) == 1 else f"labels {', '.join(there)}" if there else "no label"

    @override
    def answers(self, classes: int) -> int:
        if classes != len(self.thresholds):
            raise BadInput(
                f"there are thresholds for {many(len(self.thresholds), 'label')}, and the model has "
                f"{many(classes, 'output')}"
            )
        return 1 << classes

    @override
    def scores(self, scores: Tensor) -> Tensor:
        """What each output is above its threshold (B, labels)."""
        return scores - scores.new_tensor(self.thresholds)

    @override
    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        wide = scores.double()
        there = wide > wide.new_tensor(self.thresholds)
        return sum(there[:, label].long() << label for label in range(len(self.thresholds)))  # type: ignore[return-value]

    @override
    def margin(self, scores: Tensor, kept: Tensor) -> Tensor:
        digits = kept[:, None] >> kept.new_tensor(range(len(self.thresholds))) & 1
        return ((1 - 2 * digits) * scores).amax(dim=1)

    @override
    def clearance(self, scores: Tensor) -> Tensor:
        return scores.abs().amin(dim=1)

    @property
    @override
    def sides(self) -> int:
        return len(self.thresholds)

    @override
    def against(self, kept: int, counts: Mapping[int, int]) -> tuple[int, ...]:
        """For each label, the votes that say the opposite of it."""
        apart = [(answer ^ kept, count) for answer, count in counts.items()]
        return tuple(sum(count for differs, count in apart if differs >> one & 1) for one in range(self.sides))

    @override
    def elected(self, counts: Mapping[int, int], kept: int | None = None) -> int | None:
        """Each label by its own majority; not there in a tie."""
        votes, there = sum(counts.values()), self.against(0, counts)
        return sum(2**label for label, count in enumerate(there) if 2 * count > votes) if votes else None

    @override
    def clauses(self, kept: int, classes: int) -> Clauses:
        """Each label by itself: its output above the threshold, or below it."""
        signs = np.array([1.0 if kept >> label & 1 else -1.0 for label in range(classes)])
        return np.diag(signs)[:, None, :], -(signs * np.array(self.thresholds))[:, None]
