"""Light and dark are bent: the gamma of a screen or a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Gamma"]

DARKEST: Final = 2.0**-10
"""Darker values are bent as this one is, so that no logarithm is infinite: a quarter of a grey level of 8 bits."""


@THREATS.register("gamma")
@dataclass(frozen=True, slots=True)
class Gamma(Transform):
    """An adversary who takes every feature to a power: ``x max(x, 2^-10)^s``, which is ``x^(1 + s)`` from 2^-10 on.

    It is meant for features in [0, 1], whose ends stay.

    >>> Gamma((0.5,)).change(0.5)
    'gamma of at most 0.5 of the exponent'
    """

    kind: ClassVar[str] = "gamma"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("exponent", -0.9, 9.0),)
    radii: tuple[float, ...]
    input_box: None = None
    units: str = "of the exponent"

    @property
    def unadditive(self) -> str:
        """Exponents multiply."""
        return "exponents multiply, where strengths would have to add up, and the darkest values follow another curve"

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return "take every feature to the same power"

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The power, of a strength within its limits: trials far beyond them would overflow."""
        (exponent,) = self.parameters
        strength = strengths[0].clamp(exponent.lowest, exponent.highest)
        return x * (strength * x.clamp(min=DARKEST).log()).exp()
