"""Sigmoid, hyperbolic tangent and softsign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ONNX, RULES, Call, Value, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.power import Power
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.tensors import Interval

__all__ = ["Sigmoid", "Tanh", "logit"]


def logit(share: Tensor) -> Tensor:
    """Where a sigmoid's derivative is a ``share`` of its largest, left of 0: ``log(s / (1 + sqrt(1 - s))^2)``."""
    return (share / (1 + (1 - share).clamp(min=0).sqrt()).square()).log()


@RULES.register("sigmoid")
@dataclass(frozen=True, slots=True, eq=False)
class Sigmoid(Curve):
    """``1 / (1 + e^-x)``."""

    kind: ClassVar[str] = "sigmoid"
    lipschitz = 0.25
    curvature = (1, -1)
    breakpoints = (0.0,)
    codomain = (0.0, 1.0)
    executions = 8.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``1 / (1 + e^-x)``."""
        return inputs[0].sigmoid()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``p (1 - p)`` on the side where p is small."""
        p = (-x.abs()).sigmoid()
        return p * (1 - p)

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """From ``p (1 - p) = s``; the derivative is even."""
        left = logit(4 * slope)
        return -left if piece else left

    def scale(self, box: Interval) -> Tensor:
        """1: onnxruntime cuts the left tail off."""
        return torch.ones_like(box.lower)

    @staticmethod
    def example() -> Example:
        """Convex, concave, and both."""
        return Example(nn.Sigmoid(), torch.tensor([[-3.0, 1.0, -2.0]]), torch.tensor([[-1.0, 2.0, 4.0]]))


@RULES.register("tanh")
@dataclass(frozen=True, slots=True, eq=False)
class Tanh(Curve):
    """The hyperbolic tangent."""

    kind: ClassVar[str] = "tanh"
    lipschitz = 1.0
    curvature = (1, -1)
    breakpoints = (0.0,)
    codomain = (-1.0, 1.0)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``tanh x``."""
        return inputs[0].tanh()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``4 p (1 - p)`` with the sigmoid p of -2 |x|, for tanh x is ``2 p(2x) - 1``."""
        p = (-2 * x.abs()).sigmoid()
        return 4 * p * (1 - p)

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """From ``1 - tanh^2 = s``; the derivative is even."""
        left = logit(slope) / 2
        return -left if piece else left

    @staticmethod
    def example() -> Example:
        """Convex, concave, and both."""
        return Example(nn.Tanh(), torch.tensor([[-3.0, 1.0, -2.0]]), torch.tensor([[-1.0, 2.0, 4.0]]))


read_entrywise(Sigmoid(), aten=["sigmoid"], onnx=["Sigmoid"])
read_entrywise(Tanh(), aten=["tanh"], onnx=["Tanh"])


@ONNX.register("Softsign")
def onnx_softsign(call: Call) -> Value:
    """``x / (1 + |x|)``, as a difference whose terms both rise: ``1 / (1 + max(-x, 0)) - 1 / (1 + max(x, 0))``."""
    value: Value = call["input"]
    sides = (call.add(ReLU(), side) for side in (scaled(call, value, -1.0), value))
    return call.add(Add(-1), *(call.add(Power(-1.0), combined(call, side, 1.0)) for side in sides))
