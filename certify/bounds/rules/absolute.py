"""Absolute value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.base import RULES, read_entrywise
from certify.bounds.rules.curve import Curve

__all__ = ["Absolute"]


@RULES.register("absolute")
@dataclass(frozen=True, slots=True, eq=False)
class Absolute(Curve):
    """``|x|``."""

    kind: ClassVar[str] = "absolute"
    lipschitz = 1.0
    curvature = (0, 0)
    breakpoints = (0.0,)
    stationary = (0.0,)
    smooth = False
    codomain = (0.0, torch.inf)
    executions = 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``|x|``."""
        return inputs[0].abs()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """-1 or 1."""
        return torch.full_like(x, 2.0 * piece - 1)

    @override
    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    @staticmethod
    def example() -> Example:
        """Negative, positive, and open."""
        return Example(Applied(lambda x: x.abs()), torch.tensor([[-3.0, 1.0, -2.0]]), torch.tensor([[-1.0, 2.0, 4.0]]))


read_entrywise(Absolute(), aten=["abs"], onnx=["Abs"])
