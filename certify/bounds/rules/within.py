"""Numbers known up to an error, such as constants that a network computes and every execution rounds differently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from certify.bounds.contract import Example
from certify.bounds.rules.base import RULES, Nonlinear, NotCovered
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Within"]


class _Computed(nn.Module):
    exponent: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("exponent", torch.tensor([0.1, -0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * torch.exp(self.exponent)


@RULES.register("within")
@dataclass(frozen=True, slots=True, eq=False)
class Within(Nonlinear):
    """An unknown number between -|x| and |x|; its forward value is 0.

    It is added to a sum of products with constants W that are known up to R: the error, at most ``R |x|``, is linear in
    x, so that Lipschitz constants multiply through it as through the identity.

    Args:
        times: by what factor it may be larger in a float32 execution; infinite if nothing is known about those.
    """

    kind: ClassVar[str] = "within"
    lipschitz = 1.0
    times: float = 1.0

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs[0])

    @override
    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        size = boxes[0].magnitude()
        return Interval(-size, size)

    def executed(self, *boxes: Interval) -> Tensor:
        """The farther ends of executions.

        Raises:
            NotCovered: if there are none.
        """
        if self.times == math.inf:
            raise NotCovered("a constant is computed by an operator whose float32 executions nothing is known about")
        return (self.times - 1) * boxes[0].magnitude()

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Two constants."""
        size = boxes[0].magnitude()
        level = torch.zeros_like(size)
        return Relaxation((level,), -size, (level,), size)

    def bent(self, *boxes: Interval) -> Tensor:
        """Nowhere: a tighter box of what is small already gains nothing."""
        return torch.zeros_like(boxes[0].lower, dtype=torch.bool)

    @staticmethod
    def example() -> Example:
        """A scale that is an exponential."""
        return Example(_Computed(), torch.tensor([[-1.0, 0.5]]), torch.tensor([[2.0, 1.0]]))
