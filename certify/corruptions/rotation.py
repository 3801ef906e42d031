"""A camera hangs askew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.rotation import Rotation
from certify.corruptions.base import CORRUPTIONS
from certify.corruptions.transforms import AlongThreat

__all__ = ["Askew"]


@CORRUPTIONS.register("rotation")
@dataclass(frozen=True, slots=True)
class Askew(AlongThreat):
    """An image is turned counterclockwise about its middle; what comes into sight is 0.

    Strengths are our own.
    """

    name: ClassVar[str] = "rotation"
    units: ClassVar[str] = "degrees"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (5.0, 10.0, 15.0, 20.0, 30.0)

    def usual(self) -> Rotation:
        """Around the image, zeros."""
        return Rotation((0.0,))
