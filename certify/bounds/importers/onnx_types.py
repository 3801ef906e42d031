"""Truth values and integers between floats: which operators of ONNX may read and make them.

A graph holds them as floats: 0 and 1, and whole numbers. That is exact only for operators that treat both alike, so all
others are refused: integers are divided in another way, and their products overflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from certify.bounds.rules.base import NotCovered

__all__ = ["check_types"]

FLOATS = frozenset({1, 11})
"""ONNX's codes of float32 and float64."""

INT64, BOOL = 7, 9
MOVES = (
    "Concat Expand Flatten Gather GatherElements Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split()
)
COMPARISONS = "Equal Greater GreaterOrEqual Less LessOrEqual".split()
READERS = {
    INT64: frozenset({"Add", "Sub", "Cast", *COMPARISONS, *MOVES}),
    BOOL: frozenset({"And", "Or", "Not", "Where", "Cast", *MOVES}),
}
MAKERS = {
    INT64: frozenset({"Add", "Sub", "Cast", *MOVES}),
    BOOL: frozenset({"And", "Or", "Not", "Cast", *COMPARISONS, *MOVES}),
}
LARGEST = 2**24
"""Up to here float32 holds all integers."""


def check_types(kind: str, read: Iterable[int], made: int, constants: Iterable[Any]) -> None:
    """Refuse an operator that floats would not imitate exactly.

    Args:
        kind: its ONNX name.
        read: types of what it reads that depends on the input.
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
    if INT64 in given and any(
        array.dtype.kind in "iu" and bool((np.abs(array) > LARGEST).any()) for array in constants
    ):
        raise NotCovered(f"it reads integers beyond {LARGEST}, which float32 rounds")
