"""Sensors are stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws, Form
from certify.corruptions.noises import Places

__all__ = ["Stuck"]


@CORRUPTIONS.register("stuck")
@dataclass(frozen=True, slots=True)
class Stuck(Places):
    """Places, the same for all inputs, always read one value between their bounds, drawn once for each.

    On tables, a strength is a radius of the threat ``features``. What is stuck at one strength is stuck, at the same
    value, at every larger one.
    """

    name: ClassVar[str] = "stuck"
    units: ClassVar[str] = "places"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (1, 2, 3, 4, 5)

    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """The input with what the stuck places read."""
        lower, upper = form.ends
        generator = draws.of_device()
        stuck = torch.randperm(form.shape[-1], generator=generator)[: int(strength)]
        read = lower + (upper - lower) * torch.empty(form.shape[-1]).uniform_(generator=generator)
        changed = x.clone()
        changed[..., stuck] = read.maximum(lower).minimum(upper)[..., stuck]
        return changed
