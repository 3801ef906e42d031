"""Long rows of numbers as records hold them: short ones as a list, long ones compressed."""

from __future__ import annotations

import base64
import zlib
from functools import lru_cache
from typing import Any, Final

import numpy as np

from certify.bounded.texts import inflated
from certify.errors import BadInput

__all__ = ["pack", "unpack"]

LISTED: Final = 64
"""Numbers up to which a row is a list. Every certificate holds its threat, and packed masks of images shrink a
hundredfold."""

AS_FLOATS: Final = 5
"""How much larger a tuple of floats is than their bytes."""


def pack(numbers: tuple[float, ...]) -> list[float] | str:
    """A list of numbers, or for long rows the text of their little-endian float64 bytes: zlib, then base64."""
    if len(numbers) <= LISTED:
        return list(numbers)
    return base64.b64encode(zlib.compress(np.asarray(numbers, dtype="<f8").tobytes(), 9)).decode("ascii")


def unpack(what: str, value: Any) -> tuple[Any, ...]:
    """Inverse of :func:`pack`.

    Raises:
        BadInput: naming ``what``, for anything but a list or the text that :func:`pack` makes.

    >>> long = tuple(float(i % 2) for i in range(784))
    >>> unpack("a scale", pack(long)) == long, len(pack(long))
    (True, 56)
    """
    if isinstance(value, str):
        return _unpacked(what, value)
    if not isinstance(value, list | tuple):
        raise BadInput(f"{what} in a record is a list of numbers or their packed text, got {value!r:.40}")
    return tuple(value)


@lru_cache(maxsize=16)  # ten thousand records share one tuple
def _unpacked(what: str, text: str) -> tuple[float, ...]:
    try:
        numbers = inflated(f"{what}, packed,", base64.b64decode(text, validate=True), AS_FLOATS)
        return tuple(np.frombuffer(numbers, dtype="<f8").tolist())
    except ValueError as problem:
        raise BadInput(f"{what} in a record is damaged ({problem}); restore the record or run again") from problem
