"""Features are stretched away from a middle value, or pressed towards it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.core.values import finite

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Contrast"]


@THREATS.register("contrast")
@dataclass(frozen=True, slots=True)
class Contrast(Transform):
    """An adversary who multiplies every feature's difference to a middle value by 1 + s, and cuts it to the input box.

    With a middle of 0 it is the gain of a signal.

    Args:
        radii: the largest s, ascending.
        middle: the value that stays, in input units.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    >>> Contrast((0.2,), middle=0.0).change(0.2)
    'contrast (middle 0.0) of at most 0.2 of the differences'
    """

    kind: ClassVar[str] = "contrast"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("stretch", -1.0, 100.0),)
    radii: tuple[float, ...]
    middle: float = 0.5
    input_box: None = None
    units: str = "of the differences"

    def __post_init__(self) -> None:
        object.__setattr__(self, "middle", finite("middle", self.middle))
        Transform.__post_init__(self)

    @property
    def unadditive(self) -> str:
        """Factors multiply."""
        return "stretches multiply, where strengths would have to add up: gain has the logarithm of the factor"

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return f"stretch or press the differences of all features to {self.middle:g} by one factor"

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The stretched input, cut."""
        return frame.cut(x + strengths[0] * (x - self.middle))
