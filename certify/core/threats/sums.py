"""Transforms that add something to an input: what those members share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from certify.core.threats.transform import Frame, Transform
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sum"]


class Sum(Transform):
    """A transform that adds ``s v`` to an input, with v the same for all inputs, and cuts the sum to the input box.

    A member has a field ``cut``, True by default. Without it sums may leave the box, and strengths add up.
    """

    __slots__ = ()
    additive: ClassVar[bool] = True
    cut: bool

    def __post_init__(self) -> None:
        if not isinstance(self.cut, bool):
            raise BadInput(f"cut must be true or false, got {self.cut!r:.60}")
        Transform.__post_init__(self)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was chosen. Sums are cut where it is not said: so records say that are older than the choice."""
        return {name: value for name, value in Transform.settings.fget(self).items() if (name, value) != ("cut", True)}  # type: ignore[attr-defined]

    @property
    def unadditive(self) -> str:
        """Cutting loses something."""
        said = (
            "what is cut off at the input box does not come back: with cut=False nothing is cut, and strengths add up"
        )
        return said if self.cut else ""

    def added(self, x: Tensor, change: Tensor, frame: Frame) -> Tensor:
        """The sum, cut."""
        return frame.cut(x + change) if self.cut else x + change
