"""Exponential and logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Value
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.scale_shift import combined
from certify.bounds.tensors import Interval

__all__ = ["Exp", "Log"]


class _Applied(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.exp(x) + 0.5)


@RULES.register("exp")
@dataclass(frozen=True, slots=True, eq=False)
class Exp(Curve):
    """``e^x``."""

    kind: ClassVar[str] = "exp"
    curvature = (1,)
    codomain = (0.0, torch.inf)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``e^x``."""
        return inputs[0].exp()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``e^x``."""
        return x.exp()

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``log s``."""
        return slope.log()

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Whatever was rounded, it is at least 1 from 0 on, and at most 1 up to there."""
        [box], image = boxes, Curve.interval(self, *boxes, outward=outward)
        return Interval(
            torch.where(box.lower >= 0, image.lower.clamp(min=1), image.lower),
            torch.where(box.upper <= 0, image.upper.clamp(max=1), image.upper),
        )

    @staticmethod
    def example() -> Example:
        """``log(e^x + 1/2)``."""
        return Example(_Applied(), torch.tensor([[-2.0, 0.0]]), torch.tensor([[1.0, 2.0]]))


@RULES.register("log")
@dataclass(frozen=True, slots=True, eq=False)
class Log(Curve):
    """The natural logarithm. Nothing is known on boxes that contain negative numbers."""

    kind: ClassVar[str] = "log"
    curvature = (-1,)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``log x``."""
        return inputs[0].log()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``1 / x``."""
        return 1 / x

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``1 / s``."""
        return 1 / slope

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """At 0 and below."""
        return boxes[0].lower <= 0

    def defined(self, box: Interval) -> Tensor:
        """Positive numbers."""
        return (box.lower >= 0) & box.upper.isfinite()

    @staticmethod
    def example() -> Example:
        """``log(e^x + 1/2)``."""
        return Exp.example()


@ATEN.register("exp")
def exp(call: Call) -> Value:
    """``torch.exp``."""
    return call.add(Exp(), call["self"])


@ATEN.register("log")
def log(call: Call) -> Value:
    """``torch.log``."""
    return call.add(Log(), call["self"])


@ATEN.register("expm1")
def expm1(call: Call) -> Value:
    """``e^x - 1``."""
    return combined(call, call.add(Exp(), call["self"]), -1.0)


@ATEN.register("log1p")
def log1p(call: Call) -> Value:
    """``log(1 + x)``."""
    return call.add(Log(), combined(call, call["self"], 1.0))


@ONNX.register("Exp")
def onnx_exp(call: Call) -> Value:
    """``e^x``."""
    return call.add(Exp(), call["input"])


@ONNX.register("Log")
def onnx_log(call: Call) -> Value:
    """The natural logarithm."""
    return call.add(Log(), call["input"])
