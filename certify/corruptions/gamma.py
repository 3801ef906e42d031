"""The gamma of a screen or a camera is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.threats.gamma import Gamma
from certify.corruptions.base import CORRUPTIONS, Form
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

    def usual(self) -> Gamma:
        """As in the threat."""
        return Gamma((0.0,))

    def refusal(self, form: Form) -> str:
        """Only values between 0 and 1 keep their ends."""
        if said := AlongThreat.refusal(self, form):
            return said
        if form.input_box is None or form.input_box.pair != (0.0, 1.0):
            return "is about values from 0 to 1: declare the input box 0,1"
        return ""
