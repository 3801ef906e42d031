"""Flatten, view, reshape: the same numbers under another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, RULES, Affine, Call, Shape, Value
from certify.bounds.tensors import Interval

__all__ = ["Reshape"]


@RULES.register("reshape")
@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Affine):
    """Each sample in a new shape.

    Args:
        shape: the per-sample output shape.
    """

    kind: ClassVar[str] = "reshape"
    separable: ClassVar[bool] = True
    shape: Shape

    def forward(self, *inputs: Tensor) -> Tensor:
        """The same numbers, sample by sample."""
        return inputs[0].reshape(inputs[0].shape[0], *self.shape)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """W is a permutation."""
        return self.forward(*inputs)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """No arithmetic, no rounding."""
        return Interval(self.forward(boxes[0].lower), self.forward(boxes[0].upper))

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Back to the input's shape."""
        return (A.reshape(A.shape[0], *shapes[0]),)

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
        """A 2 x 2 image to a vector."""
        lower = torch.tensor([[[[-1.0, 0.0], [1.0, 2.0]]]])
        return Example(nn.Flatten(), lower, lower + 0.5)


@ATEN.register("flatten")
@ATEN.register("view")
@ATEN.register("reshape")
@ATEN.register("_unsafe_view")
@ATEN.register("unflatten")
@ATEN.register("squeeze")
@ATEN.register("unsqueeze")
def reshape(call: Call) -> Value:
    """Every torch spelling of it; the traced output shape says all there is to say."""
    return call.add(Reshape(call.shape), call["self"])
