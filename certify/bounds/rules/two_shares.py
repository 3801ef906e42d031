"""A share of 1 and the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import down, up
from certify.bounds.rules.base import RULES, Affine, Shape
from certify.bounds.tensors import Interval

__all__ = ["TwoShares"]


@RULES.register("two_shares")
@dataclass(frozen=True, slots=True, eq=False)
class TwoShares(Affine):
    """``(s, 1 - s)``, joined along an axis of length 1: rows see that both add up to 1, whatever s is.

    Args:
        axis: of a sample.
        bias: 0 and 1 along that axis, in one sample's shape or what broadcasts to it.
    """

    kind: ClassVar[str] = "two_shares"
    axis: int
    bias: Tensor

    @classmethod
    def along(cls, axis: int, rank: int, dtype: torch.dtype) -> TwoShares:
        """For samples of so many axes."""
        return cls(axis, torch.tensor([0.0, 1.0], dtype=dtype).reshape(2, *(1,) * (rank - 1 - axis)))

    def _joined(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second], dim=self.axis + 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Both shares."""
        return self._joined(inputs[0], -inputs[0]) + self.bias

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Weights of 1 and -1."""
        return self._joined(inputs[0], inputs[0])

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """One difference an end. What is left of 1 by a number from 0 to 1 is one of these, too."""
        [box], (zero, one) = boxes, self.bias
        if bool((zero != 0).any() or (one != 1).any()):
            return Affine.interval(self, *boxes, outward=outward)
        lower, upper = 1 - box.upper, 1 - box.lower
        if outward:
            lower = torch.where(box.upper <= 1, down(lower).clamp(min=0), down(lower))
            upper = torch.where(box.lower >= 0, up(upper).clamp(max=1), up(upper))
        return Interval.known(self._joined(box.lower, lower), self._joined(box.upper, upper))

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """What the first gets, less what the second gets."""
        first, second = A.split(1, dim=self.axis + 1)
        return (first - second,)

    @property
    def forward_terms(self) -> int:
        """One difference."""
        return 1

    @property
    def adjoint_terms(self) -> int:
        """One difference."""
        return 1

    @staticmethod
    def example() -> Example:
        """A softmax of pairs, along the first of two axes."""
        lower = torch.tensor([[[-1.0, 0.0, 3.0], [0.5, 0.2, -2.0]]])
        return Example(nn.Softmax(dim=1), lower, lower + torch.tensor([0.5, 0.1, 2.0]))
