"""ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import RULES, Nonlinear, read_entrywise
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["ReLU"]


@RULES.register("relu")
@dataclass(frozen=True, slots=True, eq=False)
class ReLU(Nonlinear):
    """``max(x, 0)``, enclosed by a triangle (Zhang et al. 2018; Singh et al. 2019)."""

    kind: ClassVar[str] = "relu"
    shares: ClassVar[int] = 1
    lipschitz = 1.0

    def forward(self, *inputs: Tensor) -> Tensor:
        """``max(x, 0)``."""
        return inputs[0].clamp(min=0)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Monotone, and exact in floats."""
        return Interval(boxes[0].lower.clamp(min=0), boxes[0].upper.clamp(min=0))

    def executed(self, *boxes: Interval) -> None:
        """No arithmetic, no rounding."""

    def bent(self, *boxes: Interval) -> Tensor:
        """Where the sign is open."""
        return (boxes[0].lower < 0) & (boxes[0].upper > 0)

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """The chord from above; from below a line through the origin, whose slope in [0, 1] is free.

        The slope of no choice is 1 if the interval leans to the right, else 0. Any slope d in [0, 1] gives an upper
        line once its offset is at least ``(1-d) u`` and ``-d l``; the factor covers the roundings in those products.
        """
        [box] = boxes
        bent = self.bent(box)
        # Elsewhere the width may be 0, and training takes gradients: those of a quotient by 0 are NaN even if unused.
        chord = box.upper / torch.where(bent, box.upper - box.lower, 1.0)
        dtype = box.lower.dtype
        offset = torch.maximum((1 - chord) * box.upper, -chord * box.lower) * (1 + 8 * unit(dtype)) + smallest(dtype)
        passing = (box.lower >= 0).to(box.lower.dtype)
        free = self.start(box)[0] if shares is None else shares[0]
        return Relaxation(
            lower_slopes=(torch.where(bent, free, passing),),
            lower_offset=None,
            upper_slopes=(torch.where(bent, chord, passing),),
            upper_offset=torch.where(bent, offset, 0.0),
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
        """Dead, alive, and open with either lean."""
        lower, upper = torch.tensor([[-2.0, 1.0, -3.0, -1.0]]), torch.tensor([[-1.0, 2.0, 1.0, 3.0]])
        return Example(nn.ReLU(), lower, upper)


read_entrywise(ReLU(), aten=["relu"], onnx=["Relu"])
