"""Powers of a constant base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import RULES
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["Exponential"]


class _Applied(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.pow(2.0, x) - torch.pow(0.5, x)


@RULES.register("exponential")
@dataclass(frozen=True, slots=True, eq=False)
class Exponential(Curve):
    """``b^x``.

    Args:
        base: b, positive, and not 1.
        apart: how far from log b the logarithm may be of the base that executions take: torch rounds a number to the
            type of the tensor that it meets.
    """

    kind: ClassVar[str] = "exponential"
    curvature = (1,)
    codomain = (0.0, torch.inf)
    base: float
    apart: float = 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``b^x``."""
        return torch.pow(self.base, inputs[0])

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``b^x log b``."""
        return self.forward(x) * math.log(self.base)

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``log(s / log b) / log b``."""
        rate = math.log(self.base)
        return (slope / rate).log() / rate

    def executed(self, *boxes: Interval) -> Tensor | None:
        """``b^x`` changes by a factor ``e^(d x)`` if log b is off by d."""
        off = Curve.executed(self, *boxes)
        if self.apart == 0 or off is None:
            return off
        return off + 2 * (self.apart * boxes[0].magnitude()).expm1() * self.scale(boxes[0])

    @staticmethod
    def example() -> Example:
        """A rising and a falling one."""
        return Example(_Applied(), torch.tensor([[-2.0, 0.0]]), torch.tensor([[1.0, 2.0]]))
