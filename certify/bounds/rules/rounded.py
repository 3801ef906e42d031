"""Roundings to whole numbers (down, up, to the nearest, towards zero), and the sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ATEN, RULES, Call, NotCovered, Value, read_entrywise
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import scaled
from certify.bounds.rules.staircase import Staircase
from certify.bounds.tensors import Interval

__all__ = ["Rounded", "Sign", "truncated"]

DIRECTIONS = {"down": (torch.floor, 0.0), "up": (torch.ceil, -1.0), "nearest": (torch.round, -0.5)}
"""How to round, and how far from a whole number the function jumps to it."""


@RULES.register("rounded")
@dataclass(frozen=True, slots=True, eq=False)
class Rounded(Staircase):
    """The whole number below x, above it, or nearest to it, the even one of two.

    Args:
        direction: ``"down"``, ``"up"`` or ``"nearest"``.
    """

    kind: ClassVar[str] = "rounded"
    direction: str = "down"

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return DIRECTIONS[self.direction][0](inputs[0])

    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """To the number after the first one, and to the last."""
        distance = DIRECTIONS[self.direction][1]
        return image.lower + (1 + distance), image.upper + distance

    @staticmethod
    def example() -> Example:
        """Within one step, across one jump, and across several."""
        lower, upper = torch.tensor([[0.1, 0.4, -1.9]]), torch.tensor([[0.2, 1.3, 1.2]])
        return Example(Applied(lambda x: x.floor() - (x + 0.25).ceil() + x.round() + x.trunc()), lower, upper)


def truncated(call: Call, value: Value) -> Value:
    """Rounded towards zero: down to the right of it, up to the left, each side by itself."""
    below = call.add(Rounded("down"), call.add(ReLU(), scaled(call, value, -1.0)))
    return call.add(Add(-1), call.add(Rounded("down"), call.add(ReLU(), value)), below)


read_entrywise(Rounded("down"), aten=["floor"], onnx=["Floor"], words="The largest whole number not above.")
read_entrywise(Rounded("up"), aten=["ceil"], onnx=["Ceil"], words="The least whole number not below.")
read_entrywise(Rounded("nearest"), onnx=["Round"], words="The nearest whole number, the even one of two.")


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


@RULES.register("sign")
@dataclass(frozen=True, slots=True, eq=False)
class Sign(Staircase):
    """-1, 0 or 1: the sign of x."""

    kind: ClassVar[str] = "sign"

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0].sign()

    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """All of it at 0."""
        zero = torch.zeros_like(image.lower)
        return zero, zero

    @staticmethod
    def example() -> Example:
        """Negative, positive, and open with either lean."""
        lower, upper = torch.tensor([[-2.0, 1.0, -3.0, -1.0]]), torch.tensor([[-1.0, 2.0, 1.0, 3.0]])
        return Example(Applied(lambda x: x.sign() + 0.5 * x), lower, upper)


read_entrywise(Sign(), aten=["sign"], onnx=["Sign"])
