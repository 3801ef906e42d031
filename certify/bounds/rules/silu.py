"""SiLU, also called swish, and mish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import ONNX, RULES, Call, NotCovered, Value, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["Mish", "SiLU"]


@RULES.register("silu")
@dataclass(frozen=True, slots=True, eq=False)
class SiLU(Curve):
    """``x p(x)`` with the sigmoid p. Its second derivative is ``p (1 - p) (2 - x tanh(x / 2))``."""

    kind: ClassVar[str] = "silu"
    lipschitz = 1.09984
    curvature = (-1, 1, -1)
    breakpoints = (-2.3993572805154677, 2.3993572805154677)
    stationary = (-1.2784645427610738,)
    codomain = (-0.2784645427610739, torch.inf)
    moving = 40.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x p(x)``."""
        return inputs[0] * inputs[0].sigmoid()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``p + x p (1 - p)``."""
        p = x.sigmoid()
        return p + x.clamp(-1000, 1000) * p * (-x).sigmoid()

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """A sigmoid and a product."""
        return 12 * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """Two terms, at most 1 and 0.3 in size, that may cancel."""
        return torch.full_like(slope, 32 * unit(x.dtype))

    def scale(self, box: Interval) -> Tensor:
        """The input: some executions compute a sigmoid with an absolute error."""
        return box.magnitude()

    @staticmethod
    def example() -> Example:
        """Around the minimum, and around both ends of the convex piece."""
        return Example(nn.SiLU(), torch.tensor([[-2.0, -6.0, -4.0]]), torch.tensor([[-1.0, -2.0, 4.0]]))


@RULES.register("mish")
@dataclass(frozen=True, slots=True, eq=False)
class Mish(Curve):
    """``x tanh(log(1 + e^x))``, computed as ``x t`` with ``t = 1 - 2 / ((1 + e^x)^2 + 1)``, without cancellation."""

    kind: ClassVar[str] = "mish"
    lipschitz = 1.0885
    curvature = (-1, 1, -1)
    breakpoints = (-2.2563763963607931, 1.4905711794854285)
    stationary = (-1.1924312145154952,)
    codomain = (-0.3088434130172507, torch.inf)
    moving = 40.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x t``."""
        return inputs[0] * _gate(inputs[0])

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``t + x (1 - t^2) p(x)`` with the sigmoid p."""
        t, w = _gate(x), (-x.abs()).exp()
        # 1 - t = 2 / ((1 + e^x)^2 + 1), from powers of e^-|x| that do not overflow.
        rest = torch.where(x > 0, 2 * w * w / (1 + 2 * w + 2 * w * w), 2 / (w * (w + 2) + 2))
        return t + x.clamp(-1000, 1000) * rest * (1 + t) * x.sigmoid()

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """An exponential, felt once or twice, and six operations."""
        return 24 * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """Two terms, at most 1 and 0.4 in size, that may cancel."""
        return torch.full_like(slope, 64 * unit(x.dtype))

    def scale(self, box: Interval) -> Tensor:
        """The input: some executions compute a sigmoid with an absolute error."""
        return box.magnitude()

    @staticmethod
    def example() -> Example:
        """Around the minimum, and around both ends of the convex piece."""
        return Example(nn.Mish(), torch.tensor([[-2.0, -6.0, -4.0]]), torch.tensor([[-1.0, -2.0, 4.0]]))


def _gate(x: Tensor) -> Tensor:
    """``tanh(log(1 + e^x))`` from ``w = e^-|x|``: ``(1 + 2w) / (1 + 2w + 2w^2)`` or ``w (w + 2) / (w (w + 2) + 2)``."""
    w = (-x.abs()).exp()
    left, right = w * (w + 2), 1 + 2 * w
    return torch.where(x > 0, right / (right + 2 * w * w), left / (left + 2))


read_entrywise(SiLU(), aten=["silu"])
read_entrywise(Mish(), aten=["mish"], onnx=["Mish"])


@ONNX.register("Swish")
def onnx_swish(call: Call) -> Value:
    """``x p(x)``."""
    if call["alpha"] != 1:
        raise NotCovered(f"alpha is {call['alpha']}: only 1 is covered")
    return call.add(SiLU(), call["X"])
