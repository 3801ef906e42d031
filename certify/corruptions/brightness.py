"""Light is added to an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.brightness import Brightness
from certify.corruptions.base import CORRUPTIONS, Form
from certify.corruptions.transforms import AlongThreat

__all__ = ["BrighterLight"]


@CORRUPTIONS.register("brightness")
@dataclass(frozen=True, slots=True)
class BrighterLight(AlongThreat):
    """The same number is added to every feature, and the sum is cut to the input box.

    Strengths are the additions to the value of an image in CIFAR-10-C (Hendrycks and Dietterich 2019), as shares of the
    width of the box. On grey images it is the same function.
    """

    name: ClassVar[str] = "brightness"
    units: ClassVar[str] = "input units"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.05, 0.1, 0.15, 0.2, 0.3)
    scaled: ClassVar[bool] = True

    def usual(self) -> Brightness:
        """Added, and cut."""
        return Brightness((0.0,))

    def refusal(self, form: Form) -> str:
        """Features of different ranges have no brightness in common."""
        if said := AlongThreat.refusal(self, form):
            return said
        if form.input_box is None or form.input_box.pair is None:
            return "is about features that share one pair of bounds: declare an input box of two numbers"
        return ""
