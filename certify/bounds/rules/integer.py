"""Results of integer types: whole numbers, as long as the type holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import RULES, Affine, Shape
from certify.bounds.tensors import Interval

__all__ = ["Integer"]


class _Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0.25).sum(2) + x[:, :, 0]


@RULES.register("integer")
@dataclass(frozen=True, slots=True, eq=False)
class Integer(Affine):
    """``y = x`` of an integer type. Nothing holds on boxes that it does not hold: there, executions wrap around.

    Args:
        signed: whether half of the numbers are negative.
        bits: of the type.
    """

    kind: ClassVar[str] = "integer"
    separable: ClassVar[bool] = True
    signed: bool
    bits: int

    @classmethod
    def of(cls, dtype: torch.dtype) -> Integer:
        """For a type of torch."""
        return cls(dtype.is_signed, torch.iinfo(dtype).bits)

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """Where a box reaches beyond the least or the largest number of the type."""
        [box] = boxes
        least, end = (-(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1)) if self.signed else (0.0, 2.0**self.bits)
        return (box.lower < least) | (box.upper >= end)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The same numbers."""
        return inputs[0]

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The same numbers."""
        return inputs[0]

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The same box."""
        return boxes[0]

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The same rows."""
        return (A,)

    @property
    def forward_terms(self) -> int:
        """None."""
        return 0

    @property
    def adjoint_terms(self) -> int:
        """None."""
        return 0

    @staticmethod
    def example() -> Example:
        """How many entries of two lines are large."""
        lower = torch.tensor([[[-1.0, 0.5, 0.0], [0.3, 0.2, 1.0]]])
        return Example(_Counted(), lower, lower + 0.5)
