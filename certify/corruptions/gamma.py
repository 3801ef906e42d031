"""The gamma of a screen or a camera is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.gamma import Gamma
from certify.corruptions.base import CORRUPTIONS
from certify.corruptions.transforms import AlongThreat

__all__ = ["WrongGamma"]


@CORRUPTIONS.register("gamma")
@dataclass(frozen=True, slots=True)
class WrongGamma(AlongThreat):
    """Every feature is taken to the power 1 + s, which darkens an image.

    Strengths are our own.
    """

    name: ClassVar[str] = "gamma"
    units: ClassVar[str] = "of the exponent"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.25, 0.5, 0.75, 1.0, 1.5)
    shares: ClassVar[bool] = True

    def usual(self) -> Gamma:
        """As in the threat."""
        return Gamma((0.0,))
