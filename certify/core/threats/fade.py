"""An input fades towards a value: fog, darkness, a washed-out print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.core.values import finite

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Fade"]


@THREATS.register("fade")
@dataclass(frozen=True, slots=True)
class Fade(Transform):
    """An adversary who mixes an input with a plain one: ``(1 - s) x + s v``. Fog is light, v = 1; darkness is v = 0.

    Args:
        radii: the largest share s, ascending, at most 1.
        towards: the value v, in input units.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    >>> Fade((0.5,)).change(0.5)
    'fade (towards 1.0) of at most 0.5 of the input'
    """

    kind: ClassVar[str] = "fade"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("share", 0.0, 1.0),)
    radii: tuple[float, ...]
    towards: float = 1.0
    input_box: None = None
    units: str = "of the input"

    def __post_init__(self) -> None:
        object.__setattr__(self, "towards", finite("towards", self.towards))
        Transform.__post_init__(self)

    @property
    def unadditive(self) -> str:
        """Shares of what is left multiply."""
        return "what is left of an input multiplies, where strengths would have to add up: gain has its logarithm"

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return f"mix the input with one that is {self.towards:g} everywhere"

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The mixture."""
        return x + strengths[0] * (self.towards - x)
