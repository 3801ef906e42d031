"""A few categorical inputs, each stored as one-hot features, become other categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from certify.core.input_box import BoxLike
from certify.core.threats.base import THREATS, Threat
from certify.core.threats.budget import Budget, Groups, groups_of, recorded_groups
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Categories"]


@THREATS.register("categories")
@dataclass(frozen=True, slots=True)
class Categories(Budget):
    """An adversary who turns a few categorical inputs into other categories.

    Each category is a feature that is 1 where it holds and 0 elsewhere (one-hot); one group of features is one
    categorical input. A radius of k says that at most k of them change. All other features stay as they are.
    Bounds are taken over the finite set of one-hot values, not over the box around it.

    Args:
        radii: whole numbers of categorical inputs, ascending: (0, 1, 2).
        groups: the features of each categorical input: lists of numbers, or text such as ``"0:3,3:8"``, see
            :func:`~certify.core.threats.budget.groups_of`.
        input_box: (lower, upper) bound of every feature, or None; it has to hold 0 and 1.
        units: what a radius counts, in words.

    Raises:
        BadInput: for radii that are no whole numbers, groups that overlap or have a single category, or a box without
            0 or 1.

    >>> import numpy as np
    >>> threat = Categories((1,), groups="0:2,2:5")
    >>> threat.distance(np.array([1.0, 0, 0, 1, 0]), np.array([1.0, 0, 0, 0, 1]))
    1.0
    >>> threat.distance(np.array([1.0, 0, 0, 1, 0]), np.array([0.5, 0.5, 0, 1, 0]))
    inf
    """

    kind: ClassVar[str] = "categories"
    symmetric: ClassVar[bool] = True

    radii: tuple[float, ...]
    groups: Groups
    input_box: BoxLike = None
    units: str = "categories changed"

    def __post_init__(self) -> None:
        groups = groups_of("groups", self.groups)
        if min(map(len, groups)) < 2:
            raise BadInput("a categorical input has two categories or more: give its group all its features")
        object.__setattr__(self, "groups", groups)
        Threat.__post_init__(self)
        self._check_box()

    def _check_box(self) -> None:
        for feature in sorted({feature for group in self.groups for feature in group}) if self.input_box else ():
            low, high = self.input_box.of(feature)
            if low > 0 or high < 1:
                raise BadInput(
                    f"categories are 0 and 1, the input box [{low:g}, {high:g}] of feature {feature} does not hold both"
                )

    @property
    @override
    def may(self) -> str:
        return f"turn as many of {len(self.groups)} categorical inputs as the radius says into other categories"

    @property
    def _words(self) -> tuple[str, str]:
        return "categorical input", "categorical inputs"

    def check_inputs(self, x: NDArray[np.floating]) -> None:
        """Refuse inputs (B, ...) whose groups do not each hold a single 1 and else 0."""
        self.check_shape(x.shape[1:])
        for place, group in enumerate(self.groups):
            values = x.reshape(len(x), -1)[:, list(group)]
            wrong = ~(((values == 0) | (values == 1)).all(axis=1) & (values.sum(axis=1) == 1))
            if wrong.any():
                first = int(wrong.argmax())
                raise BadInput(
                    f"group {place} of input {first} is no category: one feature is 1 and the others 0, "
                    f"got {values[first].tolist()}"
                )

    @override
    def to_dict(self) -> dict[str, Any]:
        return Threat.to_dict(self) | {"groups": [list(group) for group in self.groups]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Categories:
        """Inverse of :meth:`to_dict`."""
        return cls(
            radii=tuple(fields["radii"]),
            groups=recorded_groups(fields["groups"]),
            input_box=fields["input_box"],
            units=fields["units"],
        )

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Between 0 and 1 where categories may change."""
        return Budget.hull(self, x, radius, lower.clamp(min=0, max=1), upper.clamp(min=0, max=1))

    def _allowed(self, x: NDArray[np.floating], x_adv: NDArray[np.floating], changed: NDArray[np.int_]) -> bool:
        values = [x_adv[list(self.groups[place])] for place in changed]
        return all(sorted(one.tolist())[:-1] == [0] * (len(one) - 1) and one.max() == 1 for one in values)

    def _least(self, A: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        off, on = (lower <= 0) & (upper >= 0), (lower <= 1) & (upper >= 1)
        # A category is inside the box where its own feature may be 1 and all others of its group 0.
        others = self._spread(self._sums((~off).to(A.dtype)), A.shape[2]) - (~off).to(A.dtype)
        inside = (on & (others == 0)).unsqueeze(1)
        owned, place = self._places(A)
        entries = A.where(inside, A.new_tensor(float("inf")))[..., owned]
        least = A.new_full((*A.shape[:2], len(self.groups)), float("inf"))
        return least.scatter_reduce(2, place.expand_as(entries), entries, "amin")

    def _values(self, z: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._highest(z, x, lower, upper)

    def _highest(self, gradient: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        values = gradient.new_zeros(gradient.shape)
        for group in self.groups:
            features = gradient.double().new_tensor(group).long()
            best = features[gradient[:, features].argmax(dim=1)]
            values = values.scatter(1, best.unsqueeze(1), 1.0)
        return values
