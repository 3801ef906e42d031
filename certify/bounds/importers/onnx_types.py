"""Truth values and integers in ONNX graphs: which operators may read and return them.

A graph represents them as floats: 0 and 1, and whole numbers. That is exact only for operators that treat floats and
integers alike. All others are refused, such as integer division. Where sums and products may leave their type, nothing
is claimed (:class:`~certify.bounds.rules.conversion.Integer`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from certify.bounds.rules.base import NotCovered
from certify.bounds.rules.conversion import INTEGERS

__all__ = ["SUMS", "check_types"]

FLOATS = frozenset({1, 11})
"""ONNX's codes of float32 and float64."""

BOOL = 9
MOVES = (
    "Concat Expand Flatten Gather GatherElements Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split()
)
COMPARISONS = "Equal Greater GreaterOrEqual Less LessOrEqual".split()
SUMS = frozenset({"Add", "Sub", "Mul", "Neg", "ReduceSum", "Cast"})
"""Operators that compute integers from integers like floats from floats, within the range of their type."""

READERS = {
    **dict.fromkeys(INTEGERS, SUMS | {*COMPARISONS, *MOVES}),
    BOOL: frozenset({"And", "Or", "Not", "Where", "Cast", *MOVES}),
}
MAKERS = {
    **dict.fromkeys(INTEGERS, SUMS | {*MOVES}),
    BOOL: frozenset({"And", "Or", "Not", "Cast", *COMPARISONS, *MOVES}),
}
LARGEST = 2**24
"""Up to this, float32 represents all integers."""


def check_types(kind: str, read: Iterable[int], made: int, constants: Iterable[Any]) -> None:
    """Refuse an operator on integers or truth values that floats would not reproduce exactly.

    Args:
        kind: its ONNX name.
        read: types of its arguments that depend on the input.
        made: type of its result.
        constants: arrays that it reads.

    Raises:
        NotCovered: naming the type.
    """
    from onnx import TensorProto

    given = set(read)
    for code, table, word in [*((code, READERS, "input") for code in given), (made, MAKERS, "result")]:
        if code not in FLOATS and kind not in table.get(code, ()):
            name = TensorProto.DataType.Name(code).lower()
            raise NotCovered(f"its {word} is {name}; rules are about float32 and float64")
    if given & set(INTEGERS) and any(
        array.dtype.kind in "iu" and bool((np.abs(array) > LARGEST).any()) for array in constants
    ):
        raise NotCovered(f"it reads integers beyond {LARGEST}, which float32 rounds")
