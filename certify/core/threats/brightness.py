"""Every feature is raised or lowered by the same amount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS, UNITS
from certify.core.threats.sums import Sum
from certify.core.threats.transform import Frame, Parameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Brightness"]


@THREATS.register("brightness")
@dataclass(frozen=True, slots=True)
class Brightness(Sum):
    """An adversary who adds the same number to every feature, and cuts the result to the input box.

    On series and audio it is an offset.

    Args:
        radii: the largest sums, ascending.
        cut: whether results are cut. Smoothing over strengths needs False: then they may leave the box.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    >>> Brightness((0.1,)).change(0.1)
    'brightness of at most 0.1 input units'
    """

    kind: ClassVar[str] = "brightness"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("offset", -1e6, 1e6),)
    radii: tuple[float, ...]
    cut: bool = True
    input_box: None = None
    units: str = UNITS

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return "add the same number to every feature"

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The sum, cut."""
        return self.added(x, strengths[0], frame)
