"""A class stays among the k with the highest scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property, Rows
from certify.core.properties.top_class import TOP_CLASS
from certify.core.values import whole
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TopK"]

MOST: Final = 10_000
"""Clauses for complete verification: one for each set of k rivals that could all be above the class."""


@PROPERTIES.register("top-k")
@dataclass(frozen=True, slots=True)
class TopK(Property):
    """The class of an input, its label where there is one, stays among the k with the highest scores.

    Bounds need only one row for each other class: the class stays among the k if all but k - 1 of them are below it.
    Complete verification refutes every set of k others that could all be above. Under noise samples vote for their top
    class, and the class stays among the k with the most votes (Jia et al. 2020).

    Args:
        k: at least 1; fewer than the classes.

    Raises:
        BadInput: for a k that is no whole number of at least 1.
    """

    kind: ClassVar[str] = "top-k"
    like_classes: ClassVar[bool] = False
    under_noise: ClassVar[str] = "the classes with the most votes under the noise"
    cited: ClassVar[tuple[str, ...]] = ("property:top-k",)

    k: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k))
        if self.k < 1:
            raise BadInput(f"k must be at least 1, got {self.k}")

    @property
    def sentence(self) -> str:
        """The class is among the k."""
        return f"keep its class among the top {self.k}"

    @override
    def word(self, answer: int) -> str:
        return f"class {answer}"

    def answers(self, classes: int) -> int:
        """A class each; more than k."""
        Property.answers(self, classes)
        if self.k >= classes:
            raise BadInput(f"every class is among the top {self.k} of {classes}: make k smaller")
        return classes

    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        """The kept class where it is among the k, else the top one."""
        top = scores.argmax(dim=1)
        return top if kept is None else kept.where(self.margin(scores, kept) <= 0, top)

    @property
    @override
    def places(self) -> int:
        return self.k

    @override
    def elected(self, counts: Mapping[int, int], kept: int | None = None) -> int | None:
        ahead = sum(count > counts.get(kept, 0) for count in counts.values()) if kept is not None else self.k
        return kept if ahead < self.k and kept in counts else Property.elected(self, counts)

    def margin(self, scores: Tensor, kept: Tensor) -> Tensor:
        """The k-th of the others less the class itself."""
        others = scores.scatter(1, kept[:, None], float("-inf"))
        return others.topk(self.k, dim=1).values[:, -1] - scores.gather(1, kept[:, None]).squeeze(1)

    def rows(self, kept: int, classes: int) -> Rows:
        """The class less each other one."""
        return TOP_CLASS.rows(kept, classes)

    def margins(self, lower: Tensor, classes: int) -> Tensor:
        """The k-th smallest. NaN, of which nothing is known, counts as the smallest; sorting would put it last."""
        return lower.nan_to_num(nan=float("-inf")).sort(dim=1).values[:, self.k - 1 : self.k]

    def clauses(self, kept: int, classes: int) -> Clauses:
        """Of every k others, one is below."""
        if (sets := math.comb(classes - 1, self.k)) > MOST:
            raise BadInput(
                f"{sets:,} sets of {self.k} among {classes - 1} other classes are too many for complete verification: "
                "use bounds, for example crown"
            )
        rows, _ = self.rows(kept, classes)
        found = rows[np.array(list(itertools.combinations(range(classes - 1), self.k)))]
        return found, np.zeros(found.shape[:2])
