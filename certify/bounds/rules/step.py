"""Comparisons, and what is made of truth values: 1 for true, 0 for false."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Value
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.scale_shift import combined, fitted
from certify.bounds.rules.staircase import Staircase
from certify.bounds.tensors import Interval

__all__ = ["Step", "equal", "negated"]


@RULES.register("step")
@dataclass(frozen=True, slots=True, eq=False)
class Step(Staircase):
    """1 right of a threshold, 0 left of it.

    Args:
        threshold: constant that broadcasts to (B, ...), in float64 whatever the network's type: rounding would move it.
        closed: the value at the threshold itself.
    """

    kind: ClassVar[str] = "step"
    threshold: Tensor
    closed: bool = False

    @property
    def uniform(self) -> bool:
        """One threshold for all places."""
        return self.threshold.numel() == 1

    def to(self, dtype: torch.dtype) -> Self:
        """The threshold stays as it is."""
        return replace(self, threshold=self.threshold.detach().clone())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compared in float64."""
        [x] = inputs
        wide, threshold = x.double(), self.threshold.double()
        return (wide >= threshold if self.closed else wide > threshold).to(x.dtype)

    def jumps(self, image: Interval) -> tuple[Tensor, Tensor]:
        """One, at the threshold."""
        place = self.threshold.to(image.lower).expand_as(image.lower)
        return place, place

    @staticmethod
    def example() -> Example:
        """Left of both thresholds, right of them, across one and across both."""
        lower, upper = torch.tensor([[-2.0, 1.0, -0.4, -1.0]]), torch.tensor([[-1.0, 2.0, 0.5, 3.0]])
        return Example(Applied(lambda x: x * (x > 0.25) + torch.where(x <= -0.5, 1.0, -x)), lower, upper)


def _above(call: Call, first: Any, second: Any, *, closed: bool) -> Value:
    """Whether ``first > second``, or ``first >= second``."""
    if not isinstance(first, Value):
        return negated(call, _above(call, second, first, closed=not closed))
    if isinstance(second, Value):
        first, second = combined(call, first, second, alpha=-1), 0.0
    threshold, value = fitted(call, second, first)
    return call.add(Step(threshold.double(), closed), value)


def negated(call: Call, truth: Value) -> Value:
    """Whether it is false."""
    return combined(call, 1.0, truth, alpha=-1)


def equal(call: Call, first: Any, second: Any) -> Value:
    """Whether both are the same number: not less, and not more."""
    if not isinstance(first, Value):
        first, second = second, first
    both = (_above(call, first, second, closed=closed) for closed in (True, False))
    return call.add(Clip(0.0, 1.0), call.add(Add(-1), *both))


def _compared(call: Call, name: str, first: Any, second: Any) -> Value:
    if name in ("Greater", "GreaterOrEqual"):
        return _above(call, first, second, closed=name != "Greater")
    if name in ("Less", "LessOrEqual"):
        return _above(call, second, first, closed=name != "Less")
    return equal(call, first, second) if name == "Equal" else negated(call, equal(call, first, second))


_NAMES = {"gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal", "ne": "NotEqual"}


@ATEN.register("gt")
@ATEN.register("ge")
@ATEN.register("lt")
@ATEN.register("le")
@ATEN.register("eq")
@ATEN.register("ne")
def compare(call: Call) -> Value:
    """``>``, ``>=``, ``<``, ``<=``, ``==`` and ``!=``."""
    other = call["other"]
    if isinstance(other, (int, float)):  # torch rounds a number to the dtype of the tensor that it meets
        other = float(torch.tensor(other, dtype=call.dtype))
    return _compared(call, _NAMES[call.target], call["self"], other)


@ONNX.register("Greater")
@ONNX.register("GreaterOrEqual")
@ONNX.register("Less")
@ONNX.register("LessOrEqual")
@ONNX.register("Equal")
def onnx_compare(call: Call) -> Value:
    """Comparisons of results with constants or with each other."""
    return _compared(call, call.target, call["A"], call["B"])


@ATEN.register("logical_not")
def logical_not(call: Call) -> Value:
    """Whether a number is 0."""
    return equal(call, call["self"], 0.0)


@ONNX.register("Not")
def onnx_not(call: Call) -> Value:
    """``1 - X``."""
    return negated(call, call["X"])


@ONNX.register("And")
@ONNX.register("Or")
def onnx_both(call: Call) -> Value:
    """Truth values that sum to 2, or to 1 at least."""
    total = combined(call, call["A"], call["B"])
    return call.add(Clip(0.0, 1.0), total if call.target == "Or" else combined(call, total, -1.0))
