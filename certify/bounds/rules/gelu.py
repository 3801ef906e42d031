"""GELU, exact and in its tanh form (Hendrycks & Gimpel 2016), and the error function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Value, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["GELU", "Erf", "TanhGELU"]

CUBIC = 0.044715
"""The coefficient in the tanh form."""


def _example() -> Example:
    return Example(
        Applied(lambda x: torch.erf(nn.functional.gelu(x)) + nn.functional.gelu(x, approximate="tanh")),
        torch.tensor([[-3.0, -1.0]]),
        torch.tensor([[-1.0, 2.0]]),
    )


@RULES.register("gelu")
@dataclass(frozen=True, slots=True, eq=False)
class GELU(Curve):
    """``x P(Z <= x)`` for a standard normal Z, computed as ``x erfc(-x / sqrt 2) / 2``, without cancellation.

    Its second derivative is the normal density times ``2 - x^2``.
    """

    kind: ClassVar[str] = "gelu"
    lipschitz = 1.12891
    curvature = (-1, 1, -1)
    breakpoints = (-math.sqrt(2), math.sqrt(2))
    stationary = (-0.75179152469356446,)
    codomain = (-0.1699712074799037, torch.inf)
    moving = 9.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x erfc(-x / sqrt 2) / 2``."""
        return inputs[0] * _normal_cdf(inputs[0])

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """The normal distribution function, and x times its density."""
        return _normal_cdf(x) + x * (-0.5 * x.clamp(-40, 40).square()).exp() * (2 * math.pi) ** -0.5

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """``erfc z`` changes relatively by less than ``2 z^2 + 1`` times its argument's change of two roundings."""
        return (16 + 4 * x.clamp(-40, 0).square()) * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """Two terms, at most 1 and a quarter in size, that may cancel; the squares in them cost up to 2."""
        return torch.full_like(slope, 32 * unit(x.dtype))

    def scale(self, box: Interval) -> Tensor:
        """The input: executions add 1 to an error function near -1."""
        return box.magnitude()

    @staticmethod
    def example() -> Example:
        """``erf(gelu(x))`` and the tanh form."""
        return _example()


@RULES.register("tanh_gelu")
@dataclass(frozen=True, slots=True, eq=False)
class TanhGELU(Curve):
    """``x (1 + tanh z) / 2`` with ``z = sqrt(2 / pi) (x + 0.044715 x^3)``, computed as x times the sigmoid of 2z."""

    kind: ClassVar[str] = "tanh_gelu"
    lipschitz = 1.129
    curvature = (-1, 1, -1)
    breakpoints = (-1.4185040087908283555, 1.4185040087908283555)
    stationary = (-0.75246142207101626,)
    codomain = (-0.1700407505712541, torch.inf)
    moving = 9.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x sigmoid(2z)``."""
        return inputs[0] * _twice(inputs[0]).sigmoid()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``p + x p (1 - p) (2z)'``."""
        # Beyond 100 p (1 - p) is 0 in floats, and less than the error that is accounted for in the reals.
        near, z = x.clamp(-100, 100), _twice(x)
        p, q = z.sigmoid(), (-z).sigmoid()
        return p + near * p * q * (math.sqrt(8 / math.pi) * (1 + 3 * CUBIC * near.square()))

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """A sigmoid left of 0 changes relatively by less than its argument's change, of six roundings."""
        return (16 + 8 * _twice(x.clamp(-40, 0)).abs()) * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """Two terms, at most 1 and 0.3 in size, that may cancel; the sigmoids' arguments cost up to 6."""
        return torch.full_like(slope, 64 * unit(x.dtype))

    def scale(self, box: Interval) -> Tensor:
        """The input: executions add 1 to a tanh near -1."""
        return box.magnitude()

    @staticmethod
    def example() -> Example:
        """``erf(gelu(x))`` and the tanh form."""
        return _example()


@RULES.register("erf")
@dataclass(frozen=True, slots=True, eq=False)
class Erf(Curve):
    """The error function."""

    kind: ClassVar[str] = "erf"
    lipschitz = 1.12838
    curvature = (1, -1)
    breakpoints = (0.0,)
    codomain = (-1.0, 1.0)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``erf x``."""
        return inputs[0].erf()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``2 / sqrt(pi) e^(-x^2)``."""
        return (-x.clamp(-40, 40).square()).exp() * (2 / math.sqrt(math.pi))

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """The root of a logarithm; the derivative is even."""
        right = (-(slope * (math.sqrt(math.pi) / 2)).log()).clamp(min=0).sqrt()
        return right if piece else -right

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """The rounding of the square is felt in proportion to it."""
        return (32 + 4 * x.clamp(-40, 40).square()) * unit(x.dtype) * slope.abs()

    @staticmethod
    def example() -> Example:
        """``erf(gelu(x))`` and the tanh form."""
        return _example()


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.special.erfc(-math.sqrt(0.5) * x)


def _twice(x: Tensor) -> Tensor:
    return math.sqrt(8 / math.pi) * (x + CUBIC * (x * x * x))


def _gelu(call: Call, value: Value) -> Value:
    approximate = call.get("approximate", "none")
    tanh = approximate in ("tanh", b"tanh")
    return call.add(TanhGELU() if tanh else GELU(), value)


@ATEN.register("gelu")
def gelu(call: Call) -> Value:
    """``torch.nn.functional.gelu``."""
    return _gelu(call, call["self"])


read_entrywise(Erf(), aten=["erf"], onnx=["Erf"])


@ONNX.register("Gelu")
def onnx_gelu(call: Call) -> Value:
    """GELU in either form."""
    return _gelu(call, call["X"])
