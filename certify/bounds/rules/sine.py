"""Sine and cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import unit
from certify.bounds.rules.base import RULES, read_entrywise
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval

__all__ = ["Cos", "Sin"]

LARGEST_ARGUMENT = 1e4
"""Further than this from 0 nothing is said but that values are in [-1, 1]; nearer, multiples of pi are known well
enough: off by 2e-3 in float32 at most, of which the cube is what a line may lose around an inflection."""


class _Wave(Curve):
    """``sin(x + phase pi)``. Its pieces lie between multiples of pi, from where the wave of the lower end begins."""

    curvature = (-1, 1, -1, 1)
    codomain = (-1.0, 1.0)
    phase: ClassVar[float]

    def _waves(self, x: Tensor) -> Tensor:
        """How many whole waves begin at or below x; one off where x is within rounding of a multiple of 2 pi."""
        return (x / (2 * math.pi) + self.phase / 2).floor()

    def _multiple(self, waves: Tensor, halves: float) -> Tensor:
        """Where the argument of the sine is ``2 pi waves + pi halves``."""
        return (2 * waves + (halves - self.phase)) * math.pi

    def knots(self, box: Interval) -> tuple[Tensor, ...]:
        """Inflections, as many as there may be in a box of at most one wave."""
        first = self._waves(box.lower)
        middle = (self._multiple(first, n).maximum(box.lower).minimum(box.upper) for n in (1, 2, 3))
        return box.lower, *middle, box.upper

    def critical(self, slope: Tensor, piece: int, begin: Tensor, end: Tensor) -> Tensor:
        """An inverse cosine in the first wave, moved to the wave of the piece."""
        angle = slope.clamp(-1, 1).acos() / math.pi
        within = (0.0 + angle, 2.0 - angle, 2.0 + angle, 4.0 - angle)[piece]
        waves = self._waves(begin / 2 + end / 2) - float(piece > 1)
        return (2 * waves - self.phase + within) * math.pi

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """Absolute: values near 0 are as well known, but inflections are not."""
        return torch.full_like(y, 8 * unit(x.dtype))

    def derivative_rounding(self, x: Tensor, slope: Tensor) -> Tensor:
        """Absolute as well."""
        return torch.full_like(slope, 8 * unit(x.dtype))

    def scale(self, box: Interval) -> Tensor:
        """1."""
        return torch.ones_like(box.lower)

    def defined(self, box: Interval) -> Tensor:
        """Boxes of at most one wave: on others, the constants -1 and 1 are best in the middle."""
        return (box.magnitude() <= LARGEST_ARGUMENT) & (box.upper - box.lower <= 2 * math.pi)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """By the values at the ends, and whether a crest or a trough is between them, or nearly so."""
        [box] = boxes
        ends = self.forward(box.lower), self.forward(box.upper)
        off = 8 * unit(box.lower.dtype) if outward else 0.0
        lower = (torch.minimum(*ends) - off).nan_to_num(-1.0).clamp(min=-1)
        upper = (torch.maximum(*ends) + off).nan_to_num(1.0).clamp(max=1)
        far = box.magnitude() > LARGEST_ARGUMENT
        return Interval(
            torch.where(far | self._between(box, 1.5), -1.0, lower),
            torch.where(far | self._between(box, 0.5), 1.0, upper),
        )

    def _between(self, box: Interval, halves: float) -> Tensor:
        """Whether the argument passes ``pi halves`` and any number of waves. True if floats cannot tell."""
        slack = 8 * unit(box.lower.dtype) * (1 + box.magnitude())
        shift = self.phase / 2 - halves / 2
        begin, end = ((x / (2 * math.pi) + shift) for x in (box.lower - slack, box.upper + slack))
        return end.floor() >= begin.ceil()


@RULES.register("sin")
@dataclass(frozen=True, slots=True, eq=False)
class Sin(_Wave):
    """``sin x``."""

    kind: ClassVar[str] = "sin"
    lipschitz = 1.0
    phase: ClassVar[float] = 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``sin x``."""
        return inputs[0].sin()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``cos x``."""
        return x.cos()

    @staticmethod
    def example() -> Example:
        """Across a crest, across an inflection, and more than a wave."""
        return Example(
            Applied(lambda x: x.sin() + x.cos()), torch.tensor([[1.0, -1.0, -4.0]]), torch.tensor([[2.0, 2.0, 4.0]])
        )


@RULES.register("cos")
@dataclass(frozen=True, slots=True, eq=False)
class Cos(_Wave):
    """``cos x``."""

    kind: ClassVar[str] = "cos"
    lipschitz = 1.0
    phase: ClassVar[float] = 0.5

    def forward(self, *inputs: Tensor) -> Tensor:
        """``cos x``."""
        return inputs[0].cos()

    def derivative(self, x: Tensor, piece: int) -> Tensor:
        """``-sin x``."""
        return -x.sin()

    @staticmethod
    def example() -> Example:
        """Across a crest, across an inflection, and more than a wave."""
        return Sin.example()


read_entrywise(Sin(), aten=["sin"], onnx=["Sin"])
read_entrywise(Cos(), aten=["cos"], onnx=["Cos"])
