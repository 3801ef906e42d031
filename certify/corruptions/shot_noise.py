"""Light comes in grains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws
from certify.corruptions.noises import Boxed

__all__ = ["ShotNoise"]


@CORRUPTIONS.register("shot-noise")
@dataclass(frozen=True, slots=True)
class ShotNoise(Boxed):
    """Every feature is a number of grains, which has a Poisson law.

    Strengths are the size of a grain: 1 over the numbers of CIFAR-10-C (Hendrycks and Dietterich 2019), 500, 250, 100,
    75 and 50, as shares of the bounds.
    """

    name: ClassVar[str] = "shot-noise"
    units: ClassVar[str] = "of the box a grain"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (1 / 500, 1 / 250, 1 / 100, 1 / 75, 1 / 50)

    def changed(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The grains that arrive."""
        return torch.poisson(x.clamp(min=0) / strength, generator=draws.of_input()) * strength
