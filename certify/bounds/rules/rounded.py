"""Roundings to whole numbers: down, up, to the nearest, towards zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, NotCovered, Value
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import scaled
from certify.bounds.rules.staircase import Staircase
from certify.bounds.tensors import Interval

__all__ = ["Rounded", "truncated"]

DIRECTIONS = {"down": (torch.floor, 0.0), "up": (torch.ceil, -1.0), "nearest": (torch.round, -0.5)}
"""How to round, and how far from a whole number the function jumps to it."""


class _Applied(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.floor() - (x + 0.25).ceil() + x.round() + x.trunc()


@RULES.register("rounded")
@dataclass(frozen=True, slots=True, eq=False)
class Rounded(Staircase):
    """The whole number below x, above it, or nearest to it, the even one of two.

    Args:
        direction: ``"down"``, ``"up"`` or ``"nearest"``.
    """

    kind: ClassVar[str] = "rounded"
    direction: str = "down"

    def forward(self, *inputs: Tensor) -> Tensor:
        """The whole number."""
        return DIRECTIONS[self.direction][0](inputs[0])

    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """To the number after the first one, and to the last."""
        distance = DIRECTIONS[self.direction][1]
        return image.lower + (1 + distance), image.upper + distance

    @staticmethod
    def example() -> Example:
        """Within one step, across one jump, and across several."""
        lower, upper = torch.tensor([[0.1, 0.4, -1.9]]), torch.tensor([[0.2, 1.3, 1.2]])
        return Example(_Applied(), lower, upper)


def truncated(call: Call, value: Value) -> Value:
    """Rounded towards zero: down to the right of it, up to the left, each side by itself."""
    below = call.add(Rounded("down"), call.add(ReLU(), scaled(call, value, -1.0)))
    return call.add(Add(-1), call.add(Rounded("down"), call.add(ReLU(), value)), below)


@ATEN.register("floor")
def floor(call: Call) -> Value:
    """``torch.floor``."""
    return call.add(Rounded("down"), call["self"])


@ATEN.register("ceil")
def ceil(call: Call) -> Value:
    """``torch.ceil``."""
    return call.add(Rounded("up"), call["self"])


@ATEN.register("round")
def nearest(call: Call) -> Value:
    """``torch.round`` to whole numbers."""
    if call.get("decimals", 0):
        raise NotCovered("it rounds to decimals")
    return call.add(Rounded("nearest"), call["self"])


@ATEN.register("trunc")
@ATEN.register("fix")
def towards_zero(call: Call) -> Value:
    """``torch.trunc``."""
    return truncated(call, call["self"])


@ONNX.register("Floor")
def onnx_floor(call: Call) -> Value:
    """The whole number below."""
    return call.add(Rounded("down"), call["X"])


@ONNX.register("Ceil")
def onnx_ceil(call: Call) -> Value:
    """The whole number above."""
    return call.add(Rounded("up"), call["X"])


@ONNX.register("Round")
def onnx_round(call: Call) -> Value:
    """The nearest whole number, the even one of two."""
    return call.add(Rounded("nearest"), call["X"])
