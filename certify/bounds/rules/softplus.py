"""Softplus, and the logarithm of a sigmoid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import down, unit
from certify.bounds.rules.base import ATEN, RULES, Call, NotCovered, Value, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.rules.scale_shift import scaled
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Softplus"]

EXPONENT = 88.0
"""An exponential in float32 is infinite a little further from 0."""


@RULES.register("softplus")
@dataclass(frozen=True, slots=True, eq=False)
class Softplus(Curve):
    """``log(1 + e^(beta x)) / beta``; its derivative is the sigmoid of ``beta x``.

    Args:
        beta: positive.
        threshold: at least 0; where ``beta x`` is larger, the function is x instead, as torch defines it: a jump down.
            Up to there torch takes the exponential, however large. Infinite for none, and executions that cannot
            overflow.
    """

    kind: ClassVar[str] = "softplus"
    curvature = (1,)
    codomain = (0.0, torch.inf)
    beta: float = 1.0
    threshold: float = math.inf

    def forward(self, *inputs: Tensor) -> Tensor:
        """As torch defines it; beyond the threshold, x falls short of the smooth function by at most :attr:`jump`.

        In float32 as torch computes it, infinities included.
        """
        [x] = inputs
        if x.dtype == torch.float32 and math.isfinite(self.threshold):
            return nn.functional.softplus(x, self.beta, self.threshold)
        z = self.beta * x
        return torch.where(z > self.threshold, x, (z.clamp(min=0) + (-z.abs()).exp().log1p()) / self.beta)

    @property
    def _smooth(self) -> Softplus:
        """The function without its jump, which is a curve."""
        return replace(self, threshold=math.inf)

    @property
    def lipschitz(self) -> float | None:
        """1, but for the jump at the threshold, which has none."""
        return 1.0 if math.isinf(self.threshold) else None

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """The sigmoid p."""
        return (self.beta * x).sigmoid()

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """``log(s / (1 - s)) / beta``."""
        return slope.logit() / self.beta

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """An exponential of a rounded product is off by that product's size; it is felt only where it is small."""
        return (16 + 2 * (self.beta * x).clamp(-800, 0).abs()) * unit(x.dtype) * y.abs()

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """The same."""
        return (32 + 2 * (self.beta * x).clamp(-800, 0).abs()) * unit(x.dtype) * slope.abs()

    @property
    def jump(self) -> float:
        """How far torch's function falls at the threshold."""
        return math.log1p(math.exp(-self.threshold)) / self.beta * (1 + 1e-6)

    def _jumped(self, box: Interval, value: Tensor) -> Tensor:
        """``value`` less the jump where a box reaches the threshold, rounded down."""
        reached = box.upper * self.beta >= self.threshold * (1 - 1e-6)
        return torch.where(reached, down(value - self.jump), value)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Monotone but for the jump."""
        image = Curve.interval(self._smooth, *boxes, outward=outward)
        return Interval(self._jumped(boxes[0], image.lower).clamp(min=0), image.upper)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Lines around the smooth function; the lower one is lowered by the jump."""
        planes = Curve.relax(self._smooth, *boxes, shares=shares)
        assert planes.lower_offset is not None
        return replace(planes, lower_offset=self._jumped(boxes[0], planes.lower_offset))

    def executed(self, *boxes: Interval) -> Tensor:
        """Executions may also jump a little earlier or later, and round the product under the exponential."""
        [box] = boxes
        off = Curve.executed(self, box)
        assert off is not None
        if not math.isinf(self.threshold):
            overflows = (self.beta * box.upper >= EXPONENT) & (self.beta * box.lower <= self.threshold * (1 + 1e-6))
            off = torch.where(overflows, torch.inf, off)
        if self.beta != 1:
            exponent = (self.beta * box.lower).clamp(-128, 0).abs()
            off = off + 2 * unit(torch.float32) * exponent * self.scale(box)
        return off + self.jump

    @staticmethod
    def example() -> Example:
        """A small and a large box."""
        return Example(
            Applied(lambda x: nn.functional.logsigmoid(nn.functional.softplus(x, beta=2.0))),
            torch.tensor([[-3.0, 1.0]]),
            torch.tensor([[1.0, 1.5]]),
        )


@ATEN.register("softplus")
def softplus(call: Call) -> Value:
    """``torch.nn.functional.softplus``."""
    beta, threshold = (float(torch.tensor(call[name], dtype=call.dtype)) for name in ("beta", "threshold"))
    if beta <= 0:
        raise NotCovered(f"beta is {beta}, not positive")
    if not threshold >= 0:
        raise NotCovered(f"threshold is {threshold}: beyond a negative one it would be x, and negative")
    return call.add(Softplus(beta, min(threshold, torch.finfo(torch.float32).max)), call["self"])


@ATEN.register("log_sigmoid")
def log_sigmoid(call: Call) -> Value:
    """``-log(1 + e^-x)``."""
    return scaled(call, call.add(Softplus(), scaled(call, call["self"], -1.0)), -1.0)


read_entrywise(Softplus(), onnx=["Softplus"], words="``log(1 + e^x)``.")
