"""Inputs on which an imported graph is compared with its source, and how their outputs are compared."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["agree", "noise", "probes", "tolerance"]


def probes(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Inputs of many magnitudes and both signs, float64: what an operator does only to some of them must show.

    >>> probes((2, 3)).shape
    torch.Size([34, 2, 3])
    """
    generator = torch.Generator().manual_seed(0)

    def uniform(count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=generator, dtype=torch.float64)

    ordinary = [uniform(6, 0.0, 1.0), uniform(9, -3.0, 3.0)]
    normal = [
        scale * torch.randn((3, *shape), generator=generator, dtype=torch.float64)
        for scale in (0.01, 1.0, 30.0, 1000.0)
    ]
    others = [uniform(3, -1.0, 0.0), uniform(3, 0.0, 255.0), torch.zeros((1, *shape), dtype=torch.float64)]
    return torch.cat([*ordinary, *normal, *others]).to(device)


def noise(x: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """How much roundings may matter for the outputs of each input, (B,): measured, not estimated.

    Not only results are rounded: a number in Python code is another one in float32 than in float64.

    Args:
        x: the inputs, (B, ...).
        pairs: outputs of one network on them, executed in its own floating-point type and in float64.

    Returns:
        The largest gap in a pair, on this input or on others of at most comparable size: one gap may be small by luck.
    """
    gaps = [(rounded.double() - exact).nan_to_num(0.0, 0.0, 0.0) for rounded, exact in pairs]
    largest = torch.stack([_sizes(gap) for gap in gaps]).amax(dim=0)
    reach = _sizes(x.double())
    comparable = reach <= 2 * reach.clamp(min=1).unsqueeze(1)
    return torch.where(comparable, largest, 0.0).amax(dim=1)


def tolerance(expected: Tensor, noise: Tensor, relative: float) -> Tensor:
    """How far outputs may be from ``expected``, input by input: a far, steep region says nothing about an ordinary one.

    Args:
        expected: (B, ...), float64.
        noise: (B,), from :func:`noise`.
        relative: to the largest output of the same input.
    """
    allowed = relative * _sizes(expected.nan_to_num(0.0, 0.0, 0.0)) + 16 * noise + 1e-9
    return allowed.reshape(-1, *[1] * (expected.dim() - 1))


def _sizes(values: Tensor) -> Tensor:
    """The largest entry of each row, (B,)."""
    return values.abs().reshape(len(values), -1).amax(dim=1)


def agree(found: Tensor, expected: Tensor, tolerance: Tensor) -> bool:
    """Whether two outputs are equal up to a tolerance; infinities must be equal, and NaN in the same places."""
    close = ((found - expected).abs() <= tolerance) | (found == expected)
    return bool((close | (found.isnan() & expected.isnan())).all())
