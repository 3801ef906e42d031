"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from certify.bounds.contract import Example, seeded
from certify.bounds.rounding import product, rounds
from certify.bounds.rules.base import RULES, Affine, Shape

__all__ = ["Linear"]

MANY, MOST = 128, 0.8
"""From so many rows and outputs on, and up to this part of the outputs, leaving some out saves more than it takes."""


@RULES.register("linear")
@dataclass(frozen=True, slots=True, eq=False)
class Linear(Affine):
    """``y = W x + b`` on the last axis.

    Args:
        weight: W, (outputs, inputs).
        offset: b, (outputs,), or None.
    """

    kind: ClassVar[str] = "linear"
    weight: Tensor
    offset: Tensor | None = None

    def line(self) -> Linear:
        """The same: it reads lines, however many there are."""
        return self

    @property
    def bias(self) -> Tensor | None:
        """b."""
        return self.offset

    def forward(self, *inputs: Tensor) -> Tensor:
        """``W x + b``."""
        return F.linear(inputs[0], self.weight, self.offset)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """``|W| x``."""
        return F.linear(inputs[0], self.weight.abs())

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """``A W``, but for outputs that no row depends on: those of neurons that never fire, often half of all."""
        weight = self.weight
        if A.dim() == 2 and min(A.shape) >= MANY and not A.requires_grad:
            used = ((A.amax(0) != 0) | (A.amin(0) != 0)).nonzero().squeeze(1)
            if len(used) < MOST * A.shape[1]:
                A, weight = A.index_select(1, used), weight.index_select(0, used)
        return (product(A, weight),)

    @property
    def forward_terms(self) -> int:
        """One product an input."""
        return self.weight.shape[1]

    @property
    def adjoint_terms(self) -> int:
        """One product an output, summed in blocks."""
        return rounds(self.weight.shape[0])

    @staticmethod
    def example() -> Example:
        """Three inputs, two outputs."""
        return Example(seeded(nn.Linear, 3, 2), torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([[1.0, 0.5, 2.0]]))
