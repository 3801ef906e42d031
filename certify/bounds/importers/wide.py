"""A module in float64, whatever its code says about float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

__all__ = ["Wide"]


PLACED = frozenset("constant_pad_nd masked_fill fill full full_like new_full scalar_tensor".split())
"""Operators that put a number of the code into a tensor, where it is the nearest float32."""


class Wide(TorchDispatchMode):
    """While it is on, every conversion to float32 is one to float64, and so is every float32 tensor that is made.

    A module in double precision may convert its input back (``x.float()``), or meet constants of its own code.

    >>> with Wide():
    ...     y = torch.ones(2, dtype=torch.float64).float() @ torch.eye(2)
    >>> y.dtype
    torch.float64
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_widened, (args, kwargs or {}))
        if func._schema.name.removeprefix("aten::").removesuffix("_") in PLACED:  # type: ignore[attr-defined]
            args, kwargs = tree_map(_as_stored, (args, kwargs))
        return tree_map(_widened, func(*args, **kwargs))


def _as_stored(value: Any) -> Any:
    return float(torch.tensor(value, dtype=torch.float32)) if isinstance(value, float) else value


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    return torch.float64 if value == torch.float32 and isinstance(value, torch.dtype) else value
