"""An image loses its contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.contrast import Contrast
from certify.corruptions.base import CORRUPTIONS
from certify.corruptions.transforms import AlongThreat

__all__ = ["LessContrast"]


@CORRUPTIONS.register("contrast")
@dataclass(frozen=True, slots=True)
class LessContrast(AlongThreat):
    """Differences to the middle of 0 and 1 are pressed to a share of themselves.

    What is left, 1 - s, are the factors of CIFAR-10-C (Hendrycks and Dietterich 2019). There the differences are those
    to the mean of the image; here they are those to a fixed value, as in the threat.
    """

    name: ClassVar[str] = "contrast"
    units: ClassVar[str] = "of the differences"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.25, 0.5, 0.6, 0.7, 0.85)
    shares: ClassVar[bool] = True
    direction: ClassVar[int] = -1

    def usual(self) -> Contrast:
        """About 1/2."""
        return Contrast((0.0,))
