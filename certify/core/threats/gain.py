"""A signal becomes louder or softer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.core.values import finite

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Gain"]


@THREATS.register("gain")
@dataclass(frozen=True, slots=True)
class Gain(Transform):
    """An adversary who multiplies every feature's difference to a middle value by ``exp(s)``: ``m + exp(s) (x - m)``.

    Strengths are natural logarithms of the factor, so that they add up where factors multiply: a radius of 0.1 means
    every factor from exp(-0.1) = 0.905 to exp(0.1) = 1.105, which is 0.87 decibels either way. Nothing is cut: results
    may leave the input box.

    Args:
        radii: the largest s, ascending, at most 20.
        middle: the value that stays, in input units.
        input_box: not stated here.
        units: what strengths count.

    Raises:
        BadInput: for a middle that is no finite number.

    >>> Gain((0.1,)).change(0.1)
    'gain (middle 0.0) of at most 0.1 of the log factor'
    """

    kind: ClassVar[str] = "gain"
    additive: ClassVar[bool] = True
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("logarithm", -20.0, 20.0),)
    radii: tuple[float, ...]
    middle: float = 0.0
    input_box: None = None
    units: str = "of the log factor"

    def __post_init__(self) -> None:
        object.__setattr__(self, "middle", finite("middle", self.middle))
        Transform.__post_init__(self)

    @property
    def unadditive(self) -> str:
        """Nothing stands against it: factors multiply, and their logarithms add up."""
        return ""

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return (
            f"multiply the differences of all features to {self.middle:g} by one factor, whose logarithm is at most "
            "the radius either way"
        )

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The input, exactly so for a strength of 0, and what the factor adds.

        About 0 it is the product: where a factor is small, the sum would lose all digits of what is left.
        """
        if not self.middle:
            return x * strengths[0].exp()
        return x + (strengths[0].exp() - 1) * (x - self.middle)
