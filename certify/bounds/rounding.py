"""Rounding errors of float arithmetic (Higham 2002, chapter 3)."""

from __future__ import annotations

import math
from typing import Any, Final, cast

import torch
from torch import Tensor

__all__ = ["above", "below", "down", "gamma", "product", "rounds", "smallest", "unit", "up"]


BLOCK: Final = 64
"""The most terms that are summed at once: shorter blocks round less, and take longer."""


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


def product(A: Tensor, B: Tensor) -> Tensor:
    """``A @ B``, for (..., m, k) and (..., k, n), as a sum over blocks of terms: each takes part in few roundings.

    >>> product(torch.ones(2, 1000), torch.ones(1000, 3))[0, 0]
    tensor(1000.)
    """
    if A.shape[-1] <= BLOCK:
        return A @ B
    if torch.is_grad_enabled() and (A.requires_grad or B.requires_grad):
        return cast(Tensor, _Product.apply(A, B))
    return _in_blocks(A, B)


def _in_blocks(A: Tensor, B: Tensor) -> Tensor:
    total = A[..., :BLOCK] @ B[..., :BLOCK, :]
    for begin in range(BLOCK, A.shape[-1], BLOCK):
        block = slice(begin, begin + BLOCK)
        total += A[..., block] @ B[..., block, :]
    return total


class _Product(torch.autograd.Function):
    """:func:`_in_blocks`, whose derivatives need no blocks: recording each would take longer than the product."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        """The product."""
        ctx.save_for_backward(A, B)
        return _in_blocks(A, B)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The derivatives by those factors that are asked for."""
        [slope], (A, B) = slopes, ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            (slope @ B.mT).sum_to_size(A.shape) if wanted[0] else None,
            (A.mT @ slope).sum_to_size(B.shape) if wanted[1] else None,
        )


def rounds(terms: int) -> int:
    """How many roundings a term of :func:`product` takes part in at most, of so many terms.

    >>> rounds(50), rounds(6400)
    (50, 164)
    """
    return terms if terms <= BLOCK else BLOCK + -(-terms // BLOCK)


def smallest(dtype: torch.dtype) -> float:
    """The smallest normal number: an upper bound of the underflow error of an operation, flushed to zero or not."""
    return torch.finfo(dtype).tiny


def down(x: Tensor) -> Tensor:
    """The next float below."""
    return torch.nextafter(x, x.new_tensor(-math.inf))


def up(x: Tensor) -> Tensor:
    """The next float above."""
    return torch.nextafter(x, x.new_tensor(math.inf))


def below(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values in another dtype, rounded down.

    >>> float(below(torch.tensor([0.1], dtype=torch.float64), torch.float32)) < 0.1
    True
    """
    rounded = values.to(dtype)
    return torch.where(rounded.double() > values.double(), down(rounded), rounded)


def above(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values in another dtype, rounded up."""
    return -below(-values, dtype)
