"""Sets of inputs: a box, or a ball cut by a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.rounding import down, up
from certify.bounds.tensors import Interval
from certify.core.norms import Norm

__all__ = ["ORDER", "Ball", "Region", "ball"]

ORDER: dict[Norm, float] = {"l1": 1.0, "l2": 2.0, "linf": math.inf}
"""Norms as torch names them."""


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The points within ``radius`` (B,) of ``center`` (B, ...) in the l1 or l2 norm.

    With a ``scale`` (1, ...) of numbers >= 0, differences count in multiples of it: ``||(x - center) / scale|| <=
    radius``, and entries where it is 0 stay. The dual norm of a row A is then ``||scale A||``.
    """

    center: Tensor
    radius: Tensor
    norm: Norm
    scale: Tensor | None = None

    def rows(self, samples: Tensor | slice) -> Ball:
        """The balls of some samples."""
        return Ball(self.center[samples], self.radius[samples], self.norm, self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """All inputs in ``box``, and in ``ball`` where there is one. Unless ``cut``, the box encloses the whole ball."""

    box: Interval
    ball: Ball | None = None
    cut: bool = True

    def rows(self, samples: Tensor | slice) -> Region:
        """The regions of some samples."""
        return Region(self.box.rows(samples), None if self.ball is None else self.ball.rows(samples), self.cut)

    def to(self, dtype: torch.dtype) -> Region:
        """The regions in another dtype, rounded to nearest: for a search, not for a claim."""
        box, ball = Interval(self.box.lower.to(dtype), self.box.upper.to(dtype)), self.ball
        if ball is not None:
            scale = None if ball.scale is None else ball.scale.to(dtype)
            ball = Ball(ball.center.to(dtype), ball.radius.to(dtype), ball.norm, scale)
        return Region(box, ball, self.cut)


def ball(
    x: Tensor, radius: Tensor, norm: Norm, input_box: tuple[float, float] | None, scale: Tensor | None = None
) -> Region:
    """Every input within ``radius`` (B,) of ``x`` (B, ...) in ``norm``, inside the input box; rounded outward.

    Differences count in multiples of ``scale`` (...), the shape of one input; where it is 0, nothing moves.

    >>> region = ball(torch.zeros(1, 3), torch.tensor([0.5]), "l2", (0.0, 1.0))
    >>> float(region.box.lower.min()), float(region.box.upper.max()) >= 0.5
    (0.0, True)
    >>> box = ball(torch.zeros(1, 3), torch.tensor([0.5]), "linf", None, torch.tensor([0.0, 1.0, 4.0])).box
    >>> box.upper.round(decimals=3)
    tensor([[0.0000, 0.5000, 2.0000]])
    """
    reach = radius.reshape(-1, *(1,) * (x.dim() - 1))
    if scale is not None:
        scale = _at_least(scale, x.dtype).unsqueeze(0)
        reach = torch.where((reach == 0) | (scale == 0), 0.0, up(reach * scale))
    lower = torch.where(reach == 0, x, down(x - reach))
    upper = torch.where(reach == 0, x, up(x + reach))
    if input_box is not None:
        lower = torch.maximum(lower, torch.minimum(x, x.new_tensor(input_box[0])))
        upper = torch.minimum(upper, torch.maximum(x, x.new_tensor(input_box[1])))
    around = None if norm == "linf" else Ball(x, radius, norm, scale)
    return Region(Interval(lower, upper), around, cut=input_box is not None)


def _at_least(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values in another dtype, rounded up."""
    rounded = values.to(dtype)
    return torch.where(rounded.double() < values.double(), up(rounded), rounded)
