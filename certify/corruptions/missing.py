"""Features are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.corruptions.base import CORRUPTIONS, Draws, Form
from certify.corruptions.noises import Places

__all__ = ["Missing"]


@CORRUPTIONS.register("missing")
@dataclass(frozen=True, slots=True)
class Missing(Places):
    """Places that are drawn for each input read 0, or the bound nearest to 0.

    On tables, a strength is a radius of the threat ``features``: the adversary there would choose the features and what
    stands in them. What is missing at one strength is missing at every larger one.
    """

    name: ClassVar[str] = "missing"
    units: ClassVar[str] = "places"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (1, 2, 3, 4, 5)

    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """The input without the places."""
        lower, upper = form.ends
        lost = torch.randperm(form.shape[-1], generator=draws.of_input())[: int(strength)]
        changed = x.clone()
        changed[..., lost] = torch.zeros_like(x).maximum(lower).minimum(upper)[..., lost]
        return changed
