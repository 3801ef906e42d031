"""Hardswish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import RULES, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["Hardswish"]


@RULES.register("hardswish")
@dataclass(frozen=True, slots=True, eq=False)
class Hardswish(Curve):
    """``x min(max(x + 3, 0), 6) / 6``: 0, a parabola from -3 to 3, x (Howard et al. 2019)."""

    kind: ClassVar[str] = "hardswish"
    lipschitz = 1.5
    curvature = (0, 1, 0)
    breakpoints = (-3.0, 3.0)
    smooth = False
    stationary = (-1.5,)
    codomain = (-0.375, torch.inf)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x min(max(x + 3, 0), 6) / 6``."""
        [x] = inputs
        return x * ((x + 3).clamp(0, 6) / 6)

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """0, ``(2 x + 3) / 6`` or 1."""
        return (2 * x + 3) / 6 if piece == 1 else torch.full_like(x, piece / 2)

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``3 s - 3/2``."""
        return 3 * slope - 1.5

    def scale(self, box: Interval) -> Tensor:
        """The input: executions round x / 6 + 1/2 near 0."""
        return box.magnitude()

    @staticmethod
    def example() -> Example:
        """On the parabola, and across its ends."""
        return Example(nn.Hardswish(), torch.tensor([[-2.0, -4.0, 1.0]]), torch.tensor([[1.0, -2.0, 5.0]]))


read_entrywise(Hardswish(), aten=["hardswish"], onnx=["HardSwish"])
