"""Examples that every operator rule provides, for the tests that run over all rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from certify.data.dataset import seeded_generator

__all__ = ["Applied", "Example", "seeded"]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A small module that uses the operator, and a box (1, ...) of inputs."""

    module: nn.Module
    lower: Tensor
    upper: Tensor


class Applied(nn.Module):
    """A function of a batch as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's result."""
        return self.function(x)


def seeded(layer: Callable[..., nn.Module], *settings: Any, **options: Any) -> nn.Module:
    """A layer in eval mode whose parameters and buffers are fixed numbers between 0.2 and 1.2 in size.

    Positive and negative entries alternate at random, except for buffers, which are positive (they hold variances). The
    global generator is left alone.

    >>> seeded(nn.Linear, 1, 2, bias=False).weight.shape
    torch.Size([2, 1])
    """
    module = layer(*settings, **options, device="meta").to_empty(device="cpu").eval()
    generator = seeded_generator("example", layer.__name__, settings)
    with torch.no_grad():
        for parameter in module.parameters():
            size, sign = generator.uniform(0.2, 1.2, parameter.shape), generator.choice([-1.0, 1.0], parameter.shape)
            parameter.copy_(torch.as_tensor(size * sign))
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.as_tensor(generator.uniform(0.2, 1.2, buffer.shape)))
    return module.requires_grad_(False)
