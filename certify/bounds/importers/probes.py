"""Inputs on which an imported graph is compared with its source."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from certify.bounded.memory import check_room

__all__ = ["probes"]

MANY = 2**13
"""Numbers in a result from which a third of the inputs is enough: what operators do was asked of each by itself."""


def probes(shape: tuple[int, ...], device: torch.device | str = "cpu", *, widest: int = 0) -> Tensor:
    """Inputs of many magnitudes and both signs, float64: what an operator does only to some of them must show.

    Args:
        shape, device: of an input.
        widest: the most numbers that a result of the network has.

    Raises:
        NoRoom: if they take more memory than there is to spare.

    >>> probes((2, 3)).shape
    torch.Size([34, 2, 3])
    """
    check_room(f"comparing the network on inputs of shape {tuple(shape)}", 34 * 8 * math.prod(shape))
    generator = torch.Generator().manual_seed(0)
    share = 1 if widest < MANY else 3

    def uniform(count: int, low: float, high: float) -> Tensor:
        count //= share
        return low + (high - low) * torch.rand((count, *shape), generator=generator, dtype=torch.float64)

    ordinary = [uniform(6, 0.0, 1.0), uniform(9, -3.0, 3.0)]
    normal = [
        scale * torch.randn((3 // share, *shape), generator=generator, dtype=torch.float64)
        for scale in (0.01, 1.0, 30.0, 1000.0)
    ]
    others = [uniform(3, -1.0, 0.0), uniform(3, 0.0, 255.0), torch.zeros((1, *shape), dtype=torch.float64)]
    return torch.cat([*ordinary, *normal, *others]).to(device)
