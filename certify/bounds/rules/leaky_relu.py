"""LeakyReLU and PReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Nonlinear, NotCovered, Value
from certify.bounds.rules.scale_shift import fitted
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["LeakyReLU"]


@RULES.register("leaky_relu")
@dataclass(frozen=True, slots=True, eq=False)
class LeakyReLU(Nonlinear):
    """x, times ``slope`` where it is negative.

    The slope may be any number: the function is convex up to 1 and concave from there. One of the lines is the chord;
    the other goes through the origin, with a free slope between the two of the function, as for ReLU.

    Args:
        slope: constant that broadcasts to (B, ...).
    """

    kind: ClassVar[str] = "leaky_relu"
    shares: ClassVar[int] = 1
    slope: Tensor

    @property
    def uniform(self) -> bool:
        """One slope for all places, or one a channel."""
        return self.slope.shape[-2:].numel() == 1

    def forward(self, *inputs: Tensor) -> Tensor:
        """``slope x``, or x."""
        [x] = inputs
        return torch.where(x < 0, self.slope * x, x)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The ends are at the ends, or at 0 where that is inside and the slope negative."""
        [box] = boxes
        points = (box.lower, box.upper, box.lower.clamp(min=0).minimum(box.upper))
        values = torch.stack([self.forward(x) for x in points])
        off = torch.zeros_like(values)
        if outward:
            off = torch.where(torch.stack(points) < 0, self._lost(values), off)
        return Interval.known((values - off).amin(0), (values + off).amax(0))

    @property
    def lipschitz(self) -> float:
        """The steeper side; NaN slopes leave none."""
        return max(1.0, float(self.slope.abs().nan_to_num(torch.inf).amax()))

    @staticmethod
    def _lost(value: Tensor) -> Tensor:
        """What a few operations lose."""
        return 8 * unit(value.dtype) * value.abs() + 8 * smallest(value.dtype)

    def executed(self, *boxes: Interval) -> Tensor:
        """One product."""
        off = (self.slope * boxes[0].lower.clamp(max=0)).abs() * unit(torch.float32)
        return (off + smallest(torch.float32)).expand_as(boxes[0].lower)

    def bent(self, *boxes: Interval) -> Tensor:
        """Where the sign is open."""
        return (boxes[0].lower < 0) & (boxes[0].upper > 0) & (self.slope != 1)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """The chord, and a line through the origin. Without choice, the latter is the branch the interval leans to."""
        [box] = boxes
        bent, slope = self.bent(box), self.slope.to(box.lower.dtype)
        convex = slope <= 1
        chord = ((box.upper - slope * box.lower) / (box.upper - box.lower)).nan_to_num(0.0, 0.0, 0.0)
        # Both ends must be on the right side of the line, whatever was rounded in its slope.
        ends = (1 - chord) * box.upper, (slope - chord) * box.lower
        above, below = torch.maximum(*ends), torch.minimum(*ends)
        above, below = above + self._lost(above), below - self._lost(below)
        above, below = torch.where(above.isnan(), torch.inf, above), torch.where(below.isnan(), -torch.inf, below)
        share = self.start(box)[0] if shares is None else shares[0]
        free = (slope + share * (1 - slope)).maximum(slope.clamp(max=1)).minimum(slope.clamp(min=1))
        passing = torch.where(box.lower >= 0, 1.0, slope)
        return Relaxation(
            lower_slopes=(torch.where(bent, torch.where(convex, free, chord), passing),),
            lower_offset=torch.where(bent & ~convex, below, 0.0),
            upper_slopes=(torch.where(bent, torch.where(convex, chord, free), passing),),
            upper_offset=torch.where(bent & convex, above, 0.0),
        )

    def cut(self, box: Interval) -> Tensor:
        """At the kink."""
        return torch.zeros_like(box.lower)

    def start(self, *boxes: Interval) -> Tensor:
        """The lean of the interval."""
        [box] = boxes
        return (box.upper > -box.lower).to(box.lower.dtype).unsqueeze(0)

    @staticmethod
    def example() -> Example:
        """A slope for each of two channels, of either sign; either lean."""
        lower = torch.tensor([[[-2.0, 1.0], [-3.0, -1.0]]])
        return Example(seeded(nn.PReLU, 2), lower, lower.abs())


@ATEN.register("leaky_relu")
def leaky_relu(call: Call) -> Value:
    """``torch.nn.functional.leaky_relu``."""
    return call.add(LeakyReLU(torch.tensor(float(call["negative_slope"]), dtype=call.dtype)), call["self"])


@ATEN.register("prelu")
def prelu(call: Call) -> Value:
    """``torch.nn.functional.prelu``: one slope, or one a channel."""
    value, slope = call["self"], call["weight"]
    if isinstance(slope, Value):
        raise NotCovered("the slope depends on the input")
    return call.add(LeakyReLU(slope.reshape(-1, *(1,) * (len(value.shape) - 1)) if value.shape else slope), value)


@ONNX.register("LeakyRelu")
def onnx_leaky_relu(call: Call) -> Value:
    """``alpha X`` where X is negative."""
    return call.add(LeakyReLU(torch.tensor(call["alpha"], dtype=call.dtype)), call["X"])


@ONNX.register("PRelu")
def onnx_prelu(call: Call) -> Value:
    """Slopes that broadcast to X."""
    if isinstance(call["slope"], Value):
        raise NotCovered("the slope depends on the input")
    slope, value = fitted(call, call["slope"], call["X"])
    return call.add(LeakyReLU(slope), value)
