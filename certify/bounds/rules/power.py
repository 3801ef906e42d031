"""Powers with a constant exponent: squares, roots, reciprocals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, NotCovered, Value, read_entrywise
from certify.bounds.rules.concat import Concat
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.exp import Exponential
from certify.bounds.rules.scale_shift import fitted
from certify.bounds.rules.select import placed
from certify.bounds.tensors import Interval

__all__ = ["Power"]


@RULES.register("power")
@dataclass(frozen=True, slots=True, eq=False)
class Power(Curve):
    """``x^p``: 2 the square, 0.5 the root, -1 the reciprocal.

    Nothing is known on boxes with negative numbers if p is no integer, and on boxes that contain 0 if p is negative.

    Args:
        exponent: p, any finite number.
        apart: how far from p executions may take it: torch rounds a number in some of its loops, in others not.

    >>> Power(2.0).interval(Interval(torch.tensor([-1.0]), torch.tensor([3.0])), outward=False)
    Interval(lower=tensor([0.]), upper=tensor([9.]))
    """

    kind: ClassVar[str] = "power"
    breakpoints = (0.0,)
    stationary = (0.0,)
    exponent: float
    apart: float = 0.0

    @property
    def curvature(self) -> tuple[int, int]:
        """Of ``p (p - 1) x^(p - 2)`` left and right of 0."""
        p = self.exponent
        right = 0 if p in (0, 1) else 1 if p * (p - 1) > 0 else -1
        return (-right if p % 2 == 1 else right, right)

    @property
    def codomain(self) -> tuple[float, float]:
        """Only odd powers are ever negative."""
        return (-torch.inf if self.exponent % 2 == 1 else 0.0, torch.inf)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``x^p``."""
        return inputs[0].pow(self.exponent)

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``p x^(p - 1)``."""
        p = self.exponent
        return torch.zeros_like(x) if p == 0 else p * x.pow(p - 1)

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``(s / p)^(1 / (p - 1))``, on the side of 0 that the piece is on."""
        p = self.exponent
        ratio = slope / p
        if p % 2 == 0:
            return ratio.sign() * ratio.abs().pow(1 / (p - 1))
        return (2 * piece - 1) * ratio.clamp(min=0).pow(1 / (p - 1))

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """The power's own, and that of the exponent."""
        return (8 * unit(x.dtype) + self._inexact(x)) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """The same for the exponent less 1."""
        return (32 * unit(x.dtype) + self._inexact(x)) * slope.abs()

    def _inexact(self, x: Tensor) -> Tensor | float:
        """``x^p`` changes by a factor ``1 + d log x`` if p, or p - 1, is off by d; short binary fractions are not."""
        p = self.exponent
        if abs(p) < 2**10 and (p * 2**10).is_integer():
            return 0.0
        return 2 * unit(x.dtype) * (abs(p) + 1) * x.abs().clamp(min=torch.finfo(x.dtype).tiny).log().abs()

    def defined(self, box: Interval) -> Tensor:
        """Other exponents than integers: no negative numbers. Negative integers: not across the pole."""
        p, finite = self.exponent, box.lower.isfinite() & box.upper.isfinite()
        if not p.is_integer():
            return finite & (box.lower >= 0)
        return finite & ~_across(box) if p < 0 else finite

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """At negative numbers unless the exponent is an integer, and at 0 if it is negative."""
        [box], p = boxes, self.exponent
        if p.is_integer():
            return (box.lower <= 0) & (box.upper >= 0) if p < 0 else None
        return box.lower <= 0 if p < 0 else box.lower < 0

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """By the values at the ends and at 0; everything across a pole. Shares 1 / x of 1 stay such: from 0 to 1."""
        [box] = boxes
        image = Curve.interval(self, box, outward=outward)
        if self.exponent >= 0:
            return image
        least, largest = self.codomain
        pole = _across(box)
        lower = torch.where(box.lower > 0, image.lower.clamp(min=0), image.lower)
        upper = torch.where(box.lower >= 1, image.upper.clamp(max=1), image.upper)
        return Interval(torch.where(pole, least, lower), torch.where(pole, largest, upper))

    def executed(self, *boxes: Interval) -> Tensor | None:
        """``x^p`` changes by a factor ``x^d`` if p is off by d."""
        off = Curve.executed(self, *boxes)
        if self.apart == 0 or off is None:
            return off
        [box], float32 = boxes, torch.finfo(torch.float32)
        logarithm = torch.maximum(
            *(end.abs().clamp(float32.tiny, float32.max).log().abs() for end in (box.lower, box.upper))
        )
        return off + 2 * (self.apart * logarithm).expm1() * self.scale(box)

    @staticmethod
    def example() -> Example:
        """Square, inverse root, cube and reciprocal."""
        return Example(
            Applied(lambda x: ((x**2 + 0.5).rsqrt() + x**3).sigmoid().reciprocal()),
            torch.tensor([[-1.0, 0.5]]),
            torch.tensor([[0.5, 1.0]]),
        )


def _across(box: Interval) -> Tensor:
    return (box.lower <= 0) & (box.upper >= 0)


def _power(call: Call, base: Any, exponent: Any) -> Value:
    if isinstance(exponent, Value):
        return _exponential(call, base, exponent)
    if isinstance(exponent, Tensor) and exponent.numel() != 1:
        exponents, value = fitted(call, exponent, base)
        return _entry_by_entry(call, value, exponents)
    p = _number(call, exponent)
    if not math.isfinite(p):
        raise NotCovered(f"exponent {p}")
    whole: Value = base
    return whole if p == float(exponent) == 1 else call.add(Power(p, abs(p - float(exponent))), whole)


def _number(call: Call, number: Any) -> float:
    """Torch rounds a number to the dtype of the tensor it meets."""
    return float(torch.tensor(float(number), dtype=call.dtype))


def _exponential(call: Call, base: Any, exponent: Value) -> Value:
    if isinstance(base, Value) or (isinstance(base, Tensor) and base.numel() != 1):
        raise NotCovered("the exponent depends on the input, and the base is not one constant")
    b = _number(call, base)
    if not (0 < b < math.inf and b != 1):
        raise NotCovered(f"base {b}: only positive ones but 1 are covered")
    return call.add(Exponential(b, abs(math.log(float(base) / b))), exponent)


def _entry_by_entry(call: Call, value: Value, exponents: Tensor) -> Value:
    """Entries of one exponent together, then all back in their places."""
    exponents = exponents.expand(value.shape).flatten()
    groups = [(p, (exponents == p).nonzero().flatten()) for p in exponents.unique().tolist()]
    parts = [_power(call, placed(call, value, places), p) for p, places in groups]
    whole = parts[0] if len(parts) == 1 else call.add(Concat(0), *parts)
    return placed(call, whole, torch.cat([places for _, places in groups]).argsort().reshape(value.shape))


@ATEN.register("pow")
def power(call: Call) -> Value:
    """``torch.pow`` with constant exponents, or a constant base."""
    return _power(call, call["self"], call["exponent"])


read_entrywise(Power(2.0), aten=["square"], words="The square.")
read_entrywise(Power(0.5), aten=["sqrt"], onnx=["Sqrt"], words="The square root.")
read_entrywise(Power(-0.5), aten=["rsqrt"], words="The inverse square root.")
read_entrywise(Power(-1.0), aten=["reciprocal"], onnx=["Reciprocal"], words="The reciprocal.")


@ONNX.register("Pow")
def onnx_power(call: Call) -> Value:
    """``X^Y`` with constant exponents, or a constant base."""
    return _power(call, call["X"], call["Y"])
