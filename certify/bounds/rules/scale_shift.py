"""Elementwise scale and shift by constants, as in the normalization of inputs; torch's sums are read here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ATEN, RULES, Affine, Call, NotCovered, Shape, Value

__all__ = ["ScaleShift"]


class _Standardize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.0 - (x - torch.tensor([[0.5, -1.0]])) / torch.tensor([[0.3, -2.0]])


@RULES.register("scale_shift")
@dataclass(frozen=True, slots=True, eq=False)
class ScaleShift(Affine):
    """``y = factor x + sign shift``, or ``x / factor + sign shift``.

    Args:
        factor: constant that broadcasts to (B, ...), or None for 1.
        shift: the same, or None for 0.
        divide: whether to divide by the factor.
        sign: -1 to subtract the shift.
    """

    kind: ClassVar[str] = "scale_shift"
    separable: ClassVar[bool] = True
    factor: Tensor | None = None
    shift: Tensor | None = None
    divide: bool = False
    sign: int = 1

    def _scaled(self, x: Tensor, factor: Tensor | None) -> Tensor:
        if factor is None:
            return x
        return x / factor if self.divide else x * factor

    @property
    def bias(self) -> Tensor | None:
        """The signed shift."""
        return None if self.shift is None else self.sign * self.shift

    def forward(self, *inputs: Tensor) -> Tensor:
        """Scale, then shift."""
        y = self._scaled(inputs[0], self.factor)
        return y if self.bias is None else y + self.bias

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Scale by the factor's size."""
        return self._scaled(inputs[0], None if self.factor is None else self.factor.abs())

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """A diagonal matrix is its own adjoint."""
        return (self._scaled(A, self.factor),)

    @property
    def forward_terms(self) -> int:
        """A product, a sum, and the constants' own conversion to the working dtype."""
        return 4

    @property
    def adjoint_terms(self) -> int:
        """A product and the factor's conversion."""
        return 0 if self.factor is None else 2

    @staticmethod
    def example() -> Example:
        """Standardized inputs, then a difference from a constant."""
        return Example(_Standardize(), torch.tensor([[-1.0, 0.5]]), torch.tensor([[2.0, 1.0]]))


def _constant(number: Any, value: Value) -> Tensor:
    """A constant that is the same for every sample and does not enlarge the result."""
    constant = number if isinstance(number, Tensor) else torch.tensor(number, dtype=torch.float64)
    shape = tuple(constant.shape)
    if len(shape) == len(value.shape) + 1 and shape[0] == 1:
        shape = shape[1:]
    try:
        fits = torch.broadcast_shapes(shape, value.shape) == value.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise NotCovered(f"a constant of shape {tuple(constant.shape)} does not fit samples of shape {value.shape}")
    return constant


def _operands(call: Call) -> tuple[Any, Any]:
    if call.arguments.get("alpha", 1) != 1:
        raise NotCovered("alpha is not 1")
    if call.arguments.get("rounding_mode") is not None:
        raise NotCovered("division with rounding")
    other = call["other"]
    if isinstance(other, float):  # torch rounds a number to the dtype of the tensor that it meets
        other = float(torch.tensor(other, dtype=call.dtype))
    return call["self"], other


def _sum(call: Call, first: Any, second: Any, sign: int) -> Value:
    """``first + sign second``, where at least one of them is a result of the network."""
    if isinstance(first, Value) and isinstance(second, Value):
        if first.shape != second.shape:
            raise NotCovered(f"the two results have different shapes {first.shape} and {second.shape}")
        return call.add(Add(sign), first, second)
    if isinstance(first, Value):
        return call.add(ScaleShift(shift=_constant(second, first), sign=sign), first)
    factor = None if sign > 0 else torch.tensor(-1.0, dtype=torch.float64)
    return call.add(ScaleShift(factor, _constant(first, second)), second)


@ATEN.register("add")
def add(call: Call) -> Value:
    """A sum of two results, or of a result and a constant."""
    return _sum(call, *_operands(call), sign=1)


@ATEN.register("sub")
def subtract(call: Call) -> Value:
    """A difference."""
    return _sum(call, *_operands(call), sign=-1)


@ATEN.register("rsub")
def subtract_from(call: Call) -> Value:
    """``other - self``."""
    first, second = _operands(call)
    return _sum(call, second, first, sign=-1)


@ATEN.register("mul")
def multiply(call: Call) -> Value:
    """A product with a constant."""
    first, second = _operands(call)
    if isinstance(first, Value) and isinstance(second, Value):
        raise NotCovered("the product of two results is not affine")
    value, constant = (first, second) if isinstance(first, Value) else (second, first)
    return call.add(ScaleShift(_constant(constant, value)), value)


@ATEN.register("div")
def divide(call: Call) -> Value:
    """A quotient with a constant divisor."""
    value, divisor = _operands(call)
    if not isinstance(value, Value) or isinstance(divisor, Value):
        raise NotCovered("the divisor depends on the input")
    return call.add(ScaleShift(_constant(divisor, value), divide=True), value)


@ATEN.register("neg")
def negate(call: Call) -> Value:
    """A change of sign."""
    return call.add(ScaleShift(torch.tensor(-1.0, dtype=torch.float64)), call["self"])
