"""Exponentials of any base, and the logarithm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.base import ATEN, RULES, Call, Value, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.scale_shift import combined
from certify.bounds.tensors import Interval

__all__ = ["Exp", "Exponential", "Log"]


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
        return Example(
            Applied(lambda x: torch.log(torch.exp(x) + 0.5)), torch.tensor([[-2.0, 0.0]]), torch.tensor([[1.0, 2.0]])
        )


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


read_entrywise(Exp(), aten=["exp"], onnx=["Exp"])
read_entrywise(Log(), aten=["log"], onnx=["Log"])


@ATEN.register("expm1")
def expm1(call: Call) -> Value:
    """``e^x - 1``."""
    return combined(call, call.add(Exp(), call["self"]), -1.0)


@ATEN.register("log1p")
def log1p(call: Call) -> Value:
    """``log(1 + x)``."""
    return call.add(Log(), combined(call, call["self"], 1.0))


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
        return Example(
            Applied(lambda x: torch.pow(2.0, x) - torch.pow(0.5, x)),
            torch.tensor([[-2.0, 0.0]]),
            torch.tensor([[1.0, 2.0]]),
        )
