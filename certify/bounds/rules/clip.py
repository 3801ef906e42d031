"""Clipping to an interval: clamp, hardtanh, ReLU6, and hardsigmoid, which is a clipped line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, NotCovered, Value
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.tensors import Interval

__all__ = ["Clip"]


@RULES.register("clip")
@dataclass(frozen=True, slots=True, eq=False)
class Clip(Curve):
    """``min(max(x, low), high)``; either end may be infinite.

    Args:
        low, high: numbers of the network's dtype, ``low <= high``.
    """

    kind: ClassVar[str] = "clip"
    lipschitz = 1.0
    curvature = (0, 0, 0)
    smooth = False
    low: float
    high: float

    @property
    def breakpoints(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def codomain(self) -> tuple[float, float]:
        """The interval itself."""
        return self.low, self.high

    def forward(self, *inputs: Tensor) -> Tensor:
        """``min(max(x, low), high)``."""
        return inputs[0].clamp(self.low, self.high)

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """1 between the ends, 0 elsewhere."""
        return torch.full_like(x, float(piece == 1))

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """Only where the ends are not of the working dtype."""
        exact = all(float(torch.tensor(end, dtype=x.dtype)) == end for end in (self.low, self.high))
        return torch.zeros_like(y) if exact else unit(x.dtype) * y.abs()

    def executed(self, *boxes: Interval) -> None:
        """No arithmetic, no rounding."""

    @staticmethod
    def example() -> Example:
        """Several forms; boxes within one piece and across two or three."""
        return Example(
            Applied(lambda x: F.hardsigmoid(F.relu6(x.clamp(max=2.0)) - F.hardtanh(x, -0.5, 1.5))),
            torch.tensor([[-3.0, 0.2, 1.0, -2.0]]),
            torch.tensor([[-1.0, 0.8, 3.0, 4.0]]),
        )


def _number(call: Call, end: Any, absent: float) -> float:
    if isinstance(end, Value):
        raise NotCovered("an end depends on the input")
    if isinstance(end, Tensor):
        if end.numel() != 1:
            raise NotCovered("several ends in one tensor")
        end = end.item()
    # Torch rounds a number to the dtype of the tensor that it meets.
    number = absent if end is None else float(torch.tensor(end, dtype=call.dtype))
    if math.isnan(number):
        raise NotCovered("an end is NaN")
    return number


def _clip(call: Call, value: Value, low: Any, high: Any) -> Value:
    least, largest = _number(call, low, -math.inf), _number(call, high, math.inf)
    return call.add(Clip(min(least, largest), largest), value)


@ATEN.register("clamp")
@ATEN.register("clip")
def clamp(call: Call) -> Value:
    """``torch.clamp`` to numbers; where they are in the wrong order, the upper one is the result."""
    return _clip(call, call["self"], call["min"], call["max"])


@ATEN.register("clamp_min")
def clamp_min(call: Call) -> Value:
    """``torch.clamp_min``."""
    return _clip(call, call["self"], call["min"], None)


@ATEN.register("clamp_max")
def clamp_max(call: Call) -> Value:
    """``torch.clamp_max``."""
    return _clip(call, call["self"], None, call["max"])


@ATEN.register("hardtanh")
def hardtanh(call: Call) -> Value:
    """``torch.nn.functional.hardtanh``."""
    return _clip(call, call["self"], call["min_val"], call["max_val"])


@ATEN.register("relu6")
def relu6(call: Call) -> Value:
    """``torch.nn.functional.relu6``."""
    return _clip(call, call["self"], 0.0, 6.0)


@ATEN.register("hardsigmoid")
def hardsigmoid(call: Call) -> Value:
    """``relu6(x + 3) / 6``."""
    return scaled(call, _clip(call, combined(call, call["self"], 3.0), 0.0, 6.0), 6.0, divide=True)


@ONNX.register("Clip")
def onnx_clip(call: Call) -> Value:
    """The ends are attributes before opset 11, inputs from there."""
    return _clip(call, call["input"], call.get("min"), call.get("max"))


@ONNX.register("HardSigmoid")
def onnx_hardsigmoid(call: Call) -> Value:
    """``max(0, min(1, alpha X + beta))``."""
    return _clip(call, combined(call, scaled(call, call["X"], call["alpha"]), call["beta"]), 0.0, 1.0)
