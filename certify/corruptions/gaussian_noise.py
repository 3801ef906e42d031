"""Noise of a sensor in bad light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws
from certify.corruptions.noises import Boxed

__all__ = ["GaussianNoise"]


@CORRUPTIONS.register("gaussian-noise")
@dataclass(frozen=True, slots=True)
class GaussianNoise(Boxed):
    """A normal number is added to every feature.

    Strengths are the standard deviations of CIFAR-10-C (Hendrycks and Dietterich 2019), as shares of the bounds. All
    strengths scale one draw.
    """

    name: ClassVar[str] = "gaussian-noise"
    units: ClassVar[str] = "of the box"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.04, 0.06, 0.08, 0.09, 0.1)

    def changed(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The sum."""
        return x + strength * x.new_empty(x.shape).normal_(generator=draws.of_input())
