"""Inputs on which an imported graph is compared with its source, and how their outputs are compared."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["agree", "probes"]


def probes(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Inputs of many magnitudes and both signs, float64: what an operator does only to some of them must show.

    >>> probes((2, 3)).shape
    torch.Size([22, 2, 3])
    """
    generator = torch.Generator().manual_seed(0)
    size = (3, *shape)
    normal = [s * torch.randn(size, generator=generator, dtype=torch.float64) for s in (0.01, 1.0, 30.0, 1000.0)]
    uniform = [s * torch.rand(size, generator=generator, dtype=torch.float64) for s in (-1.0, 1.0, 255.0)]
    return torch.cat([*normal, *uniform, torch.zeros((1, *shape), dtype=torch.float64)]).to(device)


def agree(found: Tensor, expected: Tensor, tolerance: Tensor) -> bool:
    """Whether two outputs are equal up to a tolerance; infinities must be equal, and NaN in the same places."""
    close = ((found - expected).abs() <= tolerance) | (found == expected)
    return bool((close | (found.isnan() & expected.isnan())).all())
