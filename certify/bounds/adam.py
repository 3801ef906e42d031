"""Adam's moments (Kingma & Ba 2015), for searches that take their steps themselves."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Adam"]


class Adam:
    """Moving averages of the slopes of one tensor and of their squares.

    Args:
        mean, square: how much of either average a step keeps.
        tiny: added to the root of the squares, so that a slope of 0 makes no step.

    >>> mean, size, correction = Adam()(torch.tensor([4.0, -0.5]))
    >>> (correction * mean / size).round(decimals=3).tolist()
    [1.0, -1.0]
    """

    def __init__(self, mean: float = 0.9, square: float = 0.999, tiny: float = 1e-12) -> None:
        self.keeps, self.tiny, self.steps = (mean, square), tiny, 0
        self.mean, self.square = torch.empty(0), torch.empty(0)

    def __call__(self, slope: Tensor) -> tuple[Tensor, Tensor, float]:
        """Average in a slope: the mean, the size that divides it, and the correction for beginning with zeros.

        An ascent step is ``rate * correction * mean / size``.
        """
        mean, square = self.keeps
        if self.steps == 0:
            self.mean, self.square = torch.zeros_like(slope), torch.zeros_like(slope)
        self.steps += 1
        self.mean.lerp_(slope, 1 - mean)
        self.square.lerp_(slope.square(), 1 - square)
        correction = (1 - square**self.steps) ** 0.5 / (1 - mean**self.steps)
        return self.mean, self.square.sqrt() + self.tiny, correction
