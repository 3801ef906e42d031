"""Rounding errors of float arithmetic (Higham 2002, chapter 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["down", "gamma", "smallest", "unit", "up"]


def unit(dtype: torch.dtype) -> float:
    """The unit roundoff u: one operation has a relative error of at most u.

    >>> unit(torch.float64) == 2.0**-53
    True
    """
    return torch.finfo(dtype).eps / 2


def gamma(n: int, dtype: torch.dtype) -> float:
    """``n u / (1 - n u)``: the relative error of ``n`` operations in any order; infinite where there is no bound.

    >>> gamma(10, torch.float64) < 1.2e-15
    True
    """
    nu = n * unit(dtype)
    return nu / (1 - nu) * (1 + 1e-15) if nu < 1 else math.inf


def smallest(dtype: torch.dtype) -> float:
    """The smallest normal number: an upper bound of the underflow error of an operation, flushed to zero or not."""
    return torch.finfo(dtype).tiny


def down(x: Tensor) -> Tensor:
    """The next float below."""
    return torch.nextafter(x, x.new_tensor(-math.inf))


def up(x: Tensor) -> Tensor:
    """The next float above."""
    return torch.nextafter(x, x.new_tensor(math.inf))
