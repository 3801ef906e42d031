"""A worn sensor: each feature is read with an error of its own, which stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws
from certify.corruptions.noises import Boxed

__all__ = ["SensorNoise"]


@CORRUPTIONS.register("sensor-noise")
@dataclass(frozen=True, slots=True)
class SensorNoise(Boxed):
    """Every feature has an error of its own in factor and offset, the same for all inputs: fixed-pattern noise.

    Both errors are normal, with the strength as standard deviation, the offset as a share of the bounds. Strengths are
    our own.
    """

    name: ClassVar[str] = "sensor-noise"
    units: ClassVar[str] = "of the box"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (0.02, 0.04, 0.06, 0.08, 0.1)

    def changed(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """What the worn sensor reads."""
        factor, offset = x.new_empty(2, *x.shape).normal_(generator=draws.of_device())
        return x * (1 + strength * factor) + strength * offset
