"""An image loses its sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.blur import Blur
from certify.corruptions.base import CORRUPTIONS
from certify.corruptions.transforms import AlongThreat

__all__ = ["LessSharp"]


@CORRUPTIONS.register("blur")
@dataclass(frozen=True, slots=True)
class LessSharp(AlongThreat):
    """An image is mixed with a copy that a Gaussian of 1 pixel blurred; severity 5 is the copy itself.

    The copy is the strongest Gaussian blur of CIFAR-10-C (Hendrycks and Dietterich 2019); the weaker
    ones are our own.
    """

    name: ClassVar[str] = "blur"
    units: ClassVar[str] = "of the image"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.2, 0.4, 0.6, 0.8, 1.0)

    def usual(self) -> Blur:
        """A Gaussian of one pixel."""
        return Blur((0.0,))
