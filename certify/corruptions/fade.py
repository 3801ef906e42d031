"""An input fades: fog, a washed-out print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.fade import Fade
from certify.corruptions.base import CORRUPTIONS
from certify.corruptions.transforms import AlongThreat

__all__ = ["Fading"]


@CORRUPTIONS.register("fade")
@dataclass(frozen=True, slots=True)
class Fading(AlongThreat):
    """An input is mixed with one that is 1 everywhere: even fog.

    Strengths are our own. The fog of ImageNet-C is a cloud that differs from place to place, which is another function.
    """

    name: ClassVar[str] = "fade"
    units: ClassVar[str] = "of the input"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.1, 0.2, 0.3, 0.4, 0.5)
    shares: ClassVar[bool] = True

    def usual(self) -> Fade:
        """Towards white."""
        return Fade((0.0,))
