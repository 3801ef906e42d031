"""The sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Value
from certify.bounds.rules.staircase import Staircase
from certify.bounds.tensors import Interval

__all__ = ["Sign"]


class _Applied(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sign() + 0.5 * x


@RULES.register("sign")
@dataclass(frozen=True, slots=True, eq=False)
class Sign(Staircase):
    """-1, 0 or 1: the sign of x."""

    kind: ClassVar[str] = "sign"

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sign."""
        return inputs[0].sign()

    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """All of it at 0."""
        zero = torch.zeros_like(image.lower)
        return zero, zero

    @staticmethod
    def example() -> Example:
        """Negative, positive, and open with either lean."""
        lower, upper = torch.tensor([[-2.0, 1.0, -3.0, -1.0]]), torch.tensor([[-1.0, 2.0, 1.0, 3.0]])
        return Example(_Applied(), lower, upper)


@ATEN.register("sign")
def sign(call: Call) -> Value:
    """``torch.sign``."""
    return call.add(Sign(), call["self"])


@ONNX.register("Sign")
def onnx_sign(call: Call) -> Value:
    """The sign."""
    return call.add(Sign(), call["input"])
