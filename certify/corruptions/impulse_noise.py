"""Single features are lost or saturate: salt and pepper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws
from certify.corruptions.noises import Boxed

__all__ = ["ImpulseNoise"]


@CORRUPTIONS.register("impulse-noise")
@dataclass(frozen=True, slots=True)
class ImpulseNoise(Boxed):
    """Each feature jumps, with the probability that is the strength, to one of its two bounds.

    Strengths are those of CIFAR-10-C (Hendrycks and Dietterich 2019). A feature that jumps at one strength jumps to the
    same bound at every larger one.
    """

    name: ClassVar[str] = "impulse-noise"
    units: ClassVar[str] = "of the features"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.01, 0.02, 0.03, 0.05, 0.07)

    def changed(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The input with the features that jumped."""
        chance, side = x.new_empty(2, *x.shape).uniform_(generator=draws.of_input())
        return torch.where(chance < strength, (side < 0.5).to(x.dtype), x)
