"""Some class is never the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.values import whole
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Never"]


@PROPERTIES.register("never")
@dataclass(frozen=True, slots=True)
class Never(Property):
    """An input is not taken for one class, whichever other it is taken for: never "no cancer", never "admit".

    The answer, and with it the prediction of certificates, is 0 where another class is on top, and 1 where it is that
    class; 0 is right for every input.

    Args:
        forbidden: the class.

    Raises:
        BadInput: for what is no class.
    """

    kind: ClassVar[str] = "never"

    forbidden: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "forbidden", whole("forbidden", self.forbidden))
        if self.forbidden < 0:
            raise BadInput(f"classes are numbered from 0, got {self.forbidden}")

    @property
    @override
    def sentence(self) -> str:
        return f"never become class {self.forbidden}"

    def word(self, answer: int) -> str:
        """That class, or not."""
        return f"{'' if answer else 'not '}class {self.forbidden}"

    def answers(self, classes: int) -> int:
        """Two: any other class, or this one."""
        Property.answers(self, classes)
        if self.forbidden >= classes:
            raise BadInput(f"class {self.forbidden} is none of 0 to {classes - 1}")
        return 2

    @override
    def wanted(self, label: int) -> int:
        return 0

    def scores(self, scores: Tensor) -> Tensor:
        """The highest of the other classes, and the class's own."""
        answers = scores.new_empty(len(scores), 2)
        answers[:, 0] = scores[:, [one for one in range(scores.shape[1]) if one != self.forbidden]].amax(dim=1)
        answers[:, 1] = scores[:, self.forbidden]
        return answers

    @override
    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        return (scores.argmax(dim=1) == self.forbidden).long()

    def clauses(self, kept: int, classes: int) -> Clauses:
        """One of the other classes is above; of an input that is that class already, nothing holds."""
        rows = np.zeros((1, classes - 1, classes))
        if kept == 0:
            rows[0] = -np.delete(0.0 - np.eye(classes), self.forbidden, axis=0)
            rows[0, :, self.forbidden] = -1.0
        return rows, np.zeros(rows.shape[:2])
