"""The class with the highest score stays it: the property of most papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.errors import BadInput

__all__ = ["TOP_CLASS", "TopClass"]


@PROPERTIES.register("top-class")
@dataclass(frozen=True, slots=True)
class TopClass(Property):
    """The class of an input scores above every other class.

    >>> TopClass().clauses(1, classes=3)[0][:, 0]
    array([[-1.,  1.,  0.],
           [ 0.,  1., -1.]])
    """

    kind: ClassVar[str] = "top-class"

    @property
    def sentence(self) -> str:
        """The class is kept."""
        return "keep its class"

    @override
    def word(self, answer: int) -> str:
        return f"class {answer}"

    @property
    def named(self) -> Mapping[str, Any]:
        """Nothing: what is not named is about the top class."""
        return {}

    def clauses(self, kept: int, classes: int) -> Clauses:
        """A clause for each other class, in ascending order: the class less that one."""
        if not 0 <= kept < classes:
            raise BadInput(f"{kept} is not a class; classes are 0 to {classes - 1}")
        rows = np.delete(0.0 - np.eye(classes), kept, axis=0)
        rows[:, kept] = 1.0
        return rows[:, None], np.zeros((len(rows), 1))


TOP_CLASS: Final = TopClass()
