"""The logarithm of a sum of exponentials, and the logarithm of a softmax, which is a difference from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import gamma
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Nonlinear, NotCovered, Value
from certify.bounds.rules.reshape import onnx_along
from certify.bounds.rules.scale_shift import combined
from certify.bounds.rules.select import unstacked
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["LogSumExp"]


@RULES.register("log_sum_exp")
@dataclass(frozen=True, slots=True, eq=False)
class LogSumExp(Nonlinear):
    """``y = log(sum_i e^(x_i))``, between its tangent plane and the logarithm of chords.

    A logarithm of softmax is ``x_i - y``. Differences of two of them are differences of the x: linear bounds see that.
    """

    kind: ClassVar[str] = "log_sum_exp"

    def forward(self, *inputs: Tensor) -> Tensor:
        """The largest input is taken out of the sum, so that nothing overflows."""
        return torch.logsumexp(torch.stack(inputs), dim=0)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Monotone in every input."""
        ends = [self.forward(*(box.lower for box in boxes)), self.forward(*(box.upper for box in boxes))]
        if outward:
            ends = [end + sign * self._lost(len(boxes), end) for sign, end in zip((-1, 1), ends, strict=True)]
        return Interval.known(*ends)

    @staticmethod
    def _lost(count: int, size: Tensor) -> Tensor:
        """Exponents t below the largest are off by ``u t``, their terms by ``u t e^-t``; then a sum and a logarithm."""
        return gamma(4 * count + 64, size.dtype) * (1 + size.abs() + math.log(count))

    def executed(self, *boxes: Interval) -> Tensor:
        """Nothing: executions compute it in other ways."""
        raise NotCovered("float32 executions of a logarithm of sums round in other places than its bounds")

    def bent(self, *boxes: Interval) -> Tensor:
        """Where any input is open."""
        return torch.stack([box.lower < box.upper for box in boxes]).any(dim=0)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """From below the tangent plane at the centre, whose slopes are the softmax there.

        From above, with z = x - max(u): a line ``a_i z_i + b_i`` above each exponential, then the tangent of the
        logarithm at t, the lines' sum at the centre: ``log s <= log t + (s - t) / t``.
        """
        lower, upper = torch.stack([box.lower for box in boxes]), torch.stack([box.upper for box in boxes])
        count, dtype = len(boxes), lower.dtype
        g = gamma(8 * count + 128, dtype)
        center = (lower + upper) / 2
        below = center.softmax(dim=0)
        at_center = torch.logsumexp(center, dim=0)
        reach = torch.maximum(center.abs(), torch.maximum(lower.abs(), upper.abs())).sum(dim=0)
        lower_offset = at_center - (below * center).sum(dim=0) - 2 * g * (1 + at_center.abs() + reach)

        top = upper.amax(dim=0)
        ends = (lower - top).exp(), (upper - top).exp()
        width = upper - lower
        lines = ((ends[1] - ends[0]) / torch.where(width > 0, width, torch.inf)).clamp(0, 1)
        offsets = torch.maximum(ends[0] - lines * (lower - top), ends[1] - lines * (upper - top))
        total = (ends[0] + ends[1]).sum(dim=0) / 2
        above = lines / total
        upper_offset = top + total.log() - 1 + (offsets / total).sum(dim=0) - (above * top).sum(dim=0)
        size = top.abs() + total.log().abs() + 1 + (offsets / total).sum(dim=0)
        sizes = (above * (lower.abs() + upper.abs() + 2 * top.abs())).sum(dim=0)
        upper_offset = upper_offset + g * (size + sizes)

        known = lower_offset.isfinite() & upper_offset.isfinite()
        curved = known & self.bent(*boxes)
        box = self.interval(*boxes, outward=True)
        return Relaxation(
            lower_slopes=tuple(torch.where(curved, below, 0.0)),
            lower_offset=torch.where(curved, lower_offset, box.lower),
            upper_slopes=tuple(torch.where(curved, above, 0.0)),
            upper_offset=torch.where(curved, upper_offset, box.upper),
        )

    @staticmethod
    def example() -> Example:
        """The logarithm of a softmax."""
        lower = torch.tensor([[-1.0, 0.0, 0.5]])
        return Example(nn.LogSoftmax(dim=1), lower, lower + torch.tensor([1.5, 0.5, 0.1]))


def _total(call: Call, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """Over axes of a sample."""
    return call.add(LogSumExp(), *unstacked(call, value, axes, keep=keep))


def _log_softmax(call: Call, value: Value, axis: int) -> Value:
    return combined(call, value, _total(call, value, [axis], keep=True), -1)


@ATEN.register("log_softmax")
@ATEN.register("_log_softmax")
@ATEN.register("special_log_softmax")
def log_softmax(call: Call) -> Value:
    """``torch.log_softmax``."""
    return _log_softmax(call, call["self"], call.axis(call["dim"], call["self"]))


@ATEN.register("logsumexp")
def logsumexp(call: Call) -> Value:
    """``torch.logsumexp``."""
    axes = sorted({call.axis(axis, call["self"]) for axis in call["dim"]})
    return _total(call, call["self"], axes, keep=call["keepdim"])


@ONNX.register("LogSoftmax")
def onnx_log_softmax(call: Call) -> Value:
    """Along one axis; before opset 13 over all axes from there on."""
    return onnx_along(call, _log_softmax)
