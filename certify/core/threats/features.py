"""A few features, or groups of features, take any value in their box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from certify.core.input_box import BoxLike
from certify.core.threats.base import THREATS, Threat
from certify.core.threats.budget import Budget, Groups, groups_of, recorded_groups
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Features"]


@THREATS.register("features")
@dataclass(frozen=True, slots=True)
class Features(Budget):
    """An adversary who sets a few features to any value inside the input box: wrong, missing or forged entries.

    A radius of k says that at most k of them change.

    Args:
        radii: whole numbers of features, ascending: (0, 1, 2).
        groups: features that count as one, such as the channels of a pixel: lists of numbers, or text, see
            :func:`~certify.core.threats.budget.groups_of`. Features in no group never change. None for each by itself.
        input_box: (lower, upper) bound of every feature; without one, any value could be infinite.
        units: what a radius counts, in words; features or groups changed.

    Raises:
        BadInput: for radii that are no whole numbers, or groups that overlap.

    >>> import numpy as np
    >>> threat = Features((1, 2), input_box=(0.0, 1.0))
    >>> threat.distance(np.zeros(3), np.array([0.0, 0.7, 1.0]))
    2.0
    """

    kind: ClassVar[str] = "features"
    fills_box: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    radii: tuple[float, ...]
    groups: Groups | None = None
    input_box: BoxLike = None
    units: str = ""

    def __post_init__(self) -> None:
        if self.groups is not None:
            object.__setattr__(self, "groups", groups_of("groups", self.groups))
        if self.units == "":
            object.__setattr__(self, "units", f"{'features' if self.groups is None else 'groups'} changed")
        Threat.__post_init__(self)

    @property
    def may(self) -> str:
        """Which features may change."""
        whose = "features" if self.groups is None else f"of {len(self.groups)} groups of features"
        return f"set as many {whose} as the radius says to any values"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse to go without an input box, groups that do not fit, and more changes than there are features."""
        if self.input_box is None:
            raise BadInput("features may take any value of their input box, and there is none: declare one")
        Budget.check_shape(self, shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; groups where there are any."""
        groups = {} if self.groups is None else {"groups": [list(group) for group in self.groups]}
        return Threat.to_dict(self) | groups

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Features:
        """Inverse of :meth:`to_dict`."""
        groups = fields.get("groups")
        return cls(
            radii=tuple(fields["radii"]),
            groups=None if groups is None else recorded_groups(groups),
            input_box=fields["input_box"],
            units=fields["units"],
        )

    def _least(self, A: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._sums(A.clamp(min=0) * lower.unsqueeze(1) + A.clamp(max=0) * upper.unsqueeze(1))

    def _values(self, z: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return z.maximum(lower).minimum(upper)

    def _highest(self, gradient: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return upper.where(gradient > 0, lower)
