"""ELU, and CELU and SELU, which are ELUs of other scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, NotCovered, Value
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["ELU"]


@RULES.register("elu")
@dataclass(frozen=True, slots=True, eq=False)
class ELU(Curve):
    """``scale x`` right of 0, ``scale alpha (e^(rate x) - 1)`` left of it (Clevert et al. 2016).

    Args:
        alpha, scale, rate: positive.
    """

    kind: ClassVar[str] = "elu"
    curvature = (1, 0)
    breakpoints = (0.0,)
    smooth = False
    alpha: float = 1.0
    height: float = 1.0
    rate: float = 1.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """Both parts; each is 0 where the other is not."""
        [x] = inputs
        return self.height * x.clamp(min=0) + self._depth * (self.rate * x.clamp(max=0)).expm1()

    @property
    def _depth(self) -> float:
        return self.height * self.alpha

    @property
    def lipschitz(self) -> float:
        """The slope right of 0, or at 0 from the left."""
        return max(self.height, self._depth * self.rate) * (1 + 1e-15)

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """An exponential, or the scale."""
        if piece:
            return torch.full_like(x, self.height)
        return self._depth * self.rate * (self.rate * x.clamp(max=0)).exp()

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """A logarithm."""
        return (slope / (self._depth * self.rate)).log() / self.rate

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """The product of the rate is felt relatively at most as it is rounded: ``z e^z / (e^z - 1) <= 1`` left of 0."""
        return 16 * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """An exponential of a rounded product is off by that product's size."""
        return (32 + 2 * (self.rate * x).clamp(-800, 0).abs()) * unit(x.dtype) * slope.abs()

    def scale(self, box: Interval) -> Tensor:
        """Also the depth: some executions subtract 1 from an exponential."""
        return Curve.scale(self, box) + self._depth

    @staticmethod
    def example() -> Example:
        """Left of 0, right of it, and across."""
        return Example(nn.ELU(0.5), torch.tensor([[-3.0, 1.0, -2.0]]), torch.tensor([[-1.0, 2.0, 4.0]]))


def _elu(call: Call, value: Value, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Value:
    # Torch rounds numbers to the dtype of the tensor they meet.
    a, s, r = (float(torch.tensor(number, dtype=call.dtype)) for number in (alpha, scale, rate))
    if not (0 < a < math.inf and 0 < s < math.inf and 0 < r < math.inf):
        raise NotCovered(f"alpha {alpha} and scale {scale} must be positive")
    return call.add(ELU(a, s, r), value)


@ATEN.register("elu")
def elu(call: Call) -> Value:
    """``torch.nn.functional.elu``."""
    return _elu(call, call["self"], call["alpha"], call["scale"], call["input_scale"])


@ATEN.register("celu")
def celu(call: Call) -> Value:
    """``torch.nn.functional.celu``."""
    alpha = call["alpha"]
    return _elu(call, call["self"], alpha, 1.0, 1 / alpha if alpha else math.inf)


@ATEN.register("selu")
def selu(call: Call) -> Value:
    """``torch.nn.functional.selu``, with the constants of Klambauer et al. (2017)."""
    return _elu(call, call["self"], 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@ONNX.register("Elu")
def onnx_elu(call: Call) -> Value:
    """ELU."""
    return _elu(call, call["X"], call["alpha"])


@ONNX.register("Celu")
def onnx_celu(call: Call) -> Value:
    """CELU."""
    return _elu(call, call["X"], call["alpha"], 1.0, 1 / call["alpha"] if call["alpha"] else math.inf)


@ONNX.register("Selu")
def onnx_selu(call: Call) -> Value:
    """SELU."""
    return _elu(call, call["X"], call["alpha"], call["gamma"])
