"""Elementwise scale and shift by constants, as in the normalization of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import smallest
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import RULES, Affine, Call, MixesSamples, NotCovered, Shape, Value
from certify.bounds.rules.select import expanded
from certify.bounds.tensors import Interval

__all__ = ["ScaleShift", "combined", "fitted", "one_sample", "scaled"]


@RULES.register("scale_shift")
@dataclass(frozen=True, slots=True, eq=False)
class ScaleShift(Affine):
    """``y = factor x + alpha shift``, or ``x / factor + alpha shift``.

    Args:
        factor: constant that broadcasts to (B, ...), or None for 1.
        shift: the same, or None for 0.
        divide: whether to divide by the factor.
        alpha: what the shift is multiplied by, -1 to subtract it.
    """

    kind: ClassVar[str] = "scale_shift"
    forward_terms = 6  # a product, a sum, alpha, and the constants' conversions to the working dtype
    separable: ClassVar[bool] = True
    factor: Tensor | None = None
    shift: Tensor | None = None
    divide: bool = False
    alpha: float = 1

    def _scaled(self, x: Tensor, factor: Tensor | None) -> Tensor:
        if factor is None:
            return x
        factor = factor.to(x.dtype)
        return x / factor if self.divide else x * factor

    @property
    def bias(self) -> Tensor | None:
        """The shift, times alpha."""
        return None if self.shift is None else self.alpha * self.shift

    def forward(self, *inputs: Tensor) -> Tensor:
        """Scale, then shift."""
        y = self._scaled(inputs[0], self.factor)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Scale by the factor's size."""
        return self._scaled(inputs[0], None if self.factor is None else self.factor.abs())

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """A diagonal matrix is its own adjoint."""
        return (self._scaled(A, self.factor),)

    @property
    def adjoint_terms(self) -> int:
        """A product and the factor's conversion."""
        return 0 if self.factor is None else 2

    def executed(self, *boxes: Interval) -> Tensor | None:
        """Also what constants of float64, and reciprocals, lose where they leave the normal numbers of float32."""
        off, size = Affine.executed(self, *boxes), boxes[0].magnitude()
        assert off is not None
        if self.factor is None:
            return off + smallest(torch.float32) * abs(self.alpha)
        factor, largest = self.factor.abs(), torch.finfo(torch.float32).max
        known = factor >= smallest(torch.float32) if self.divide else factor <= largest
        return torch.where(known, off + smallest(torch.float32) * (size + abs(self.alpha)), torch.inf)

    @staticmethod
    def example() -> Example:
        """Standardized inputs, then a difference from a constant."""
        return Example(
            Applied(lambda x: 1.0 - (x - torch.tensor([[0.5, -1.0]])) / torch.tensor([[0.3, -2.0]])),
            torch.tensor([[-1.0, 0.5]]),
            torch.tensor([[2.0, 1.0]]),
        )


def one_sample(call: Call, constant: Tensor, axes: int) -> Tensor:
    """A constant without its batch axis, if it has one: a tensor that goes with samples of so many axes.

    Raises:
        MixesSamples: if the constant is not the same for every sample.
    """
    if not call.leading or constant.dim() <= axes:
        return constant
    if constant.dim() > axes + 1 or not bool((constant == constant[:1]).all()):
        raise MixesSamples(f"a constant of shape {tuple(constant.shape)} differs between the samples of a batch")
    return constant[0]


def fitted(call: Call, number: Any, value: Value) -> tuple[Tensor, Value]:
    """A constant as a tensor, and the result that it goes with, each as large as their combination needs."""
    constant = number if isinstance(number, Tensor) else torch.tensor(number, dtype=torch.float64)
    if not constant.is_floating_point():
        constant = constant.to(call.dtype)
    constant = one_sample(call, constant, len(value.shape))
    return constant, expanded(call, value, _together(tuple(constant.shape), value.shape))


def _together(first: Shape, second: Shape) -> Shape:
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise NotCovered(f"shapes {first} and {second} do not go together") from None


def combined(call: Call, first: Any, second: Any, alpha: float = 1) -> Value:
    """``first + alpha second``, where at least one of them is a result of the network."""
    if isinstance(first, Value) and isinstance(second, Value):
        shape = _together(first.shape, second.shape)
        if abs(alpha) != 1:
            second, alpha = scaled(call, second, alpha), 1
        return call.add(Add(int(alpha)), expanded(call, first, shape), expanded(call, second, shape))
    if isinstance(first, Value):
        constant, value = fitted(call, second, first)
        return call.add(ScaleShift(shift=constant, alpha=alpha), value)
    constant, value = fitted(call, first, second)
    return call.add(ScaleShift(None if alpha == 1 else torch.tensor(alpha, dtype=torch.float64), constant), value)


def scaled(call: Call, value: Value, factor: Any, *, divide: bool = False) -> Value:
    """A result times a constant, or over it."""
    constant, value = fitted(call, factor, value)
    return call.add(ScaleShift(constant, divide=divide), value)
