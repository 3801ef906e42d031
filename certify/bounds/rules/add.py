"""The sum of two results: residual connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.base import RULES, Affine, Shape

__all__ = ["Add"]


@RULES.register("add")
@dataclass(frozen=True, slots=True, eq=False)
class Add(Affine):
    """``y = x_1 + sign x_2`` of two results of one shape.

    Args:
        sign: 1 for a sum, -1 for a difference.
    """

    kind: ClassVar[str] = "add"
    forward_terms = 1  # the sum
    adjoint_terms = 0
    sign: int = 1

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sum, or the difference."""
        first, second = inputs
        return first + second if self.sign > 0 else first - second

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The sum either way."""
        return inputs[0] + inputs[1]

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The rows themselves, once for each input."""
        return A, A if self.sign > 0 else -A

    @staticmethod
    def example() -> Example:
        """A sum and a difference of branches."""
        return Example(
            Applied(lambda x: x + torch.relu(x) - torch.relu(x - 0.7)),
            torch.tensor([[-1.0, 0.5]]),
            torch.tensor([[2.0, 1.0]]),
        )
