"""Results joined along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Move, NotCovered, Shape, Value
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.scale_shift import combined, one_sample
from certify.bounds.rules.select import placed

__all__ = ["Concat"]


class _Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x)
        return torch.cat([x, torch.tensor([[[2.0, -1.0]]]).expand(x.shape[0], 1, 2), y, x[:, :1]], dim=1)


@RULES.register("concat")
@dataclass(frozen=True, slots=True, eq=False)
class Concat(Move):
    """Results one after the other along an axis.

    Args:
        axis: of a sample.
    """

    kind: ClassVar[str] = "concat"
    axis: int

    def forward(self, *inputs: Tensor) -> Tensor:
        """The inputs joined."""
        return torch.cat(inputs, dim=self.axis + 1)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The rows in parts."""
        return A.split([shape[self.axis] for shape in shapes], dim=self.axis + 1)

    @staticmethod
    def example() -> Example:
        """Two results, a part of one of them, and constants."""
        return Example(_Joined(), torch.tensor([[[-1.0, 0.5], [0.0, 1.0]]]), torch.tensor([[[2.0, 1.0], [0.5, 1.5]]]))


def joined(call: Call, parts: Sequence[Value | Tensor], axis: int) -> Value:
    """Results and constants joined along an axis of a sample. Constants are added into gaps between the results."""
    values = [part for part in parts if isinstance(part, Value)]
    rank = len(values[0].shape)
    pieces = [part if isinstance(part, Value) else one_sample(call, part, rank) for part in parts]
    if not 0 <= axis < rank or any(len(piece.shape) != rank for piece in pieces):
        raise NotCovered(f"parts of {[len(piece.shape) for piece in pieces]} axes are joined along axis {axis}")
    whole = values[0] if len(values) == 1 else call.add(Concat(axis), *values)
    if len(values) == len(pieces):
        return whole
    numbers = torch.arange(math.prod(whole.shape)).reshape(whole.shape)
    runs = iter(numbers.split([value.shape[axis] for value in values], dim=axis))
    index = [next(runs) if isinstance(piece, Value) else torch.full(piece.shape, -1) for piece in pieces]
    device = next(piece.device for piece in pieces if isinstance(piece, Tensor))
    shift = [
        torch.zeros(piece.shape, dtype=call.dtype, device=device) if isinstance(piece, Value) else piece.to(call.dtype)
        for piece in pieces
    ]
    return combined(call, placed(call, whole, torch.cat(index, dim=axis)), torch.cat(shift, dim=axis))


@ATEN.register("cat")
@ATEN.register("concat")
@ATEN.register("concatenate")
def cat(call: Call) -> Value:
    """``torch.cat``."""
    parts = list(call["tensors"])
    return joined(call, parts, call.axis(call["dim"], _first(parts)))


@ATEN.register("stack")
def stack(call: Call) -> Value:
    """``torch.stack``: a new axis in each part, and the parts joined along it."""
    parts = list(call["tensors"])
    shape = _first(parts).shape
    axis = call.axis(call["dim"], Value("", (1, *shape)))
    longer = (*shape[:axis], 1, *shape[axis:])
    return joined(
        call,
        [
            call.add(Reshape(longer), part)
            if isinstance(part, Value)
            else one_sample(call, part, len(shape)).reshape(longer)
            for part in parts
        ],
        axis,
    )


@ONNX.register("Concat")
def onnx_concat(call: Call) -> Value:
    """Results and constants joined."""
    return joined(call, call["inputs"], call.axis(call["axis"], _first(call["inputs"])))


def _first(parts: Sequence[Value | Tensor]) -> Value:
    return next(part for part in parts if isinstance(part, Value))
