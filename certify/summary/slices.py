"""Slices: named conditions on inputs, which may overlap, as groups of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from certify.errors import BadInput, DataError, one_line

__all__ = ["slices"]


def slices(x: Any, conditions: Mapping[str, Callable[[Any], ArrayLike] | ArrayLike]) -> list[tuple[str, ...]]:
    """The slices that each input is in: none, one or several, for :func:`~certify.summary.groups.grouped`.

    A slice is chosen by looking at inputs, and never at what a model or a certifier made of them: bounds about groups
    that were found among results do not hold.

    Args:
        x: inputs (B, ...), or whatever the functions take, such as a DataFrame of B lines.
        conditions: for each name a function of ``x``, or an array: B truth values.

    Raises:
        BadInput: for no conditions, a value that is no truth value, another number of them than inputs, or a slice
            without inputs.
        DataError: where a function fails.

    >>> slices(np.array([[0.1], [0.4], [0.9]]), {"dark": lambda x: x[:, 0] < 0.5, "first": [True, False, False]})
    [('dark', 'first'), ('dark',), ()]
    """
    if not conditions:
        raise BadInput("no slices: give each a name and a condition")
    held = {name: _held(name, condition, x) for name, condition in conditions.items()}
    return [tuple(name for name, inside in held.items() if inside[row]) for row in range(len(x))]


def _held(name: str, condition: Callable[[Any], ArrayLike] | ArrayLike, x: Any) -> Sequence[bool]:
    try:
        told = np.asarray(condition(x) if callable(condition) else condition)
    except Exception as problem:  # somebody else's function may raise anything
        raise DataError(f"slice {name!r} raised {one_line(problem)}") from problem
    if told.shape != (len(x),) or told.dtype != np.bool_:
        got = f"{told.dtype} of shape {told.shape}"
        raise BadInput(f"slice {name!r} must say true or false for each of {len(x):,} inputs, got {got}")
    if not told.any():
        raise BadInput(f"no input is in slice {name!r}: leave it out")
    inside: list[bool] = told.tolist()
    return inside
