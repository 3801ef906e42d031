"""Products with constant matrices along any axis, or with one for each head: what a fully connected layer is not."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import RULES, Affine, Call, Shape, Value
from certify.bounds.rules.linear import Linear
from certify.bounds.tensors import Interval

__all__ = ["Einsum", "along"]


@RULES.register("einsum")
@dataclass(frozen=True, slots=True, eq=False)
class Einsum(Affine):
    """The Einstein sum of a result and a constant, without diagonals.

    Args:
        axes: one letter for each axis of the input, the batch first; of the weight; of the output, the batch first. A
            letter of the input is also one of the weight or of the output.
        weight: the constant.
        start: where executions may get from one sum to the next by adding terms and taking others away, the size of the
            number that they begin with; None where they compute each sum by itself.
    """

    kind: ClassVar[str] = "einsum"
    axes: tuple[str, str, str]
    weight: Tensor
    start: float | None = None

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.einsum("{},{}->{}".format(*self.axes), x, weight)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sum of products."""
        return self._product(inputs[0], self.weight)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """With the sizes of the weights."""
        return self._product(inputs[0], self.weight.abs())

    def executed(self, *boxes: Interval) -> Tensor | None:
        """As of any affine operator; a running sum carries the errors of all terms before, three times as many."""
        if self.start is None:
            return Affine.executed(self, *boxes)
        total = self._product(boxes[0].magnitude(), torch.ones_like(self.weight)) + self.start
        terms = 3 * self.forward_terms + 8
        off = gamma(terms, torch.float32) * total + terms * smallest(torch.float32)
        return torch.where(16 * total < torch.finfo(torch.float32).max, off, torch.inf)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Input and output change their parts."""
        entering, weights, leaving = self.axes
        return (torch.einsum(f"{leaving},{weights}->{entering}", A, self.weight),)

    def _terms(self, kept: str) -> int:
        return math.prod(n for n, axis in zip(self.weight.shape, self.axes[1], strict=True) if axis not in kept)

    @property
    def forward_terms(self) -> int:
        """One product for each place on the axes that are summed."""
        return self._terms(self.axes[2])

    @property
    def adjoint_terms(self) -> int:
        """One product for each place on the axes that are new in the output."""
        return self._terms(self.axes[0])

    @staticmethod
    def example() -> Example:
        """A matrix from the left, then one for each of two heads."""
        lower = torch.linspace(-1, 1, 12).reshape(1, 2, 3, 2)
        return Example(seeded(_Heads), lower, lower + torch.tensor([0.2, 0.5]))


class _Heads(nn.Module):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.empty(2, 3, device=device))
        self.heads = nn.Parameter(torch.empty(2, 2, 3, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bhnk,hkm->bnhm", self.left @ x, self.heads)


def along(call: Call, value: Value, axis: int, matrix: Tensor) -> Value:
    """The product of a matrix (outputs, inputs) with every line of a result along one axis of a sample."""
    if axis == len(value.shape) - 1:
        return call.add(Linear(matrix), value)
    letters = string.ascii_lowercase[: len(value.shape)]
    made = letters.replace(letters[axis], "Y")
    return call.add(Einsum(("Z" + letters, "Y" + letters[axis], "Z" + made), matrix), value)
