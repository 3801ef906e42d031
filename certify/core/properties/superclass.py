"""The group of a class is kept, whichever of its classes is on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.threats.budget import Groups, groups_of
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Superclass"]


@PROPERTIES.register("superclass")
@dataclass(frozen=True, slots=True)
class Superclass(Property):
    """The top class stays in the group it is in: one kind of animal may be taken for another, but not for a car.

    Answers, and with them the labels and predictions of certificates, are numbers of groups.

    Args:
        groups: the classes of each group: lists of numbers, or text such as ``"0:4,4+6,5"``. Every class is in one.

    Raises:
        BadInput: for groups that overlap, or a single one.
    """

    kind: ClassVar[str] = "superclass"

    groups: Groups

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", groups_of("groups", self.groups))
        if len(self.groups) < 2:
            raise BadInput("superclasses are two groups of classes or more, got one")

    @property
    @override
    def sentence(self) -> str:
        return f"keep its group, of {len(self.groups)} groups of classes"

    @override
    def word(self, answer: int) -> str:
        return f"group {answer}"

    @override
    def answers(self, classes: int) -> int:
        if sorted(one for group in self.groups for one in group) != list(range(classes)):
            raise BadInput(f"groups of classes have to name each of 0 to {classes - 1} once, got {self.groups}")
        return len(self.groups)

    def wanted(self, label: int) -> int:
        """The label's group."""
        found = next((place for place, group in enumerate(self.groups) if label in group), None)
        if found is None:
            raise BadInput(f"class {label} is in none of the groups of classes")
        return found

    def scores(self, scores: Tensor) -> Tensor:
        """The highest of each group."""
        best = scores.new_empty(len(scores), len(self.groups))
        for place, group in enumerate(self.groups):
            best[:, place] = scores[:, list(group)].amax(dim=1)
        return best

    @override
    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        group = {one: place for place, classes in enumerate(self.groups) for one in classes}
        numbers = scores.new_tensor([group[one] for one in range(scores.shape[1])]).long()
        return numbers[scores.argmax(dim=1)]

    def clauses(self, kept: int, classes: int) -> Clauses:
        """For each class outside, one of the group is above it."""
        inside = self.groups[kept]
        widest, most = max(map(len, self.groups)), classes - min(map(len, self.groups))
        C, d = np.zeros((most, widest, classes)), np.ones((most, widest))
        for place, other in enumerate(sorted(set(range(classes)) - set(inside))):
            d[place] = 0.0
            for row, own in enumerate(inside):
                C[place, row, [own, other]] = 1.0, -1.0
        return C, d
