"""Maps of whole numbers as records hold them: run by run, which is short for labels and counts of neighbouring pixels.

The text of a map is the only one that it has, so that equal maps are equal texts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.bounded.memory import check_room
from certify.core.threats.budget import MOST_FEATURES
from certify.errors import BadInput

__all__ = ["MOST", "map_of", "map_text", "read_map"]

MOST: Final = 10**9
"""The largest number in a map: as many samples as anybody draws."""

SMALL: Final = 2**16
"""Pixels of a map that is read without asking for the free memory."""

AS_READ: Final = 24
"""Bytes that reading a pixel takes at most."""

_RUN: Final = re.compile(r"(0|[1-9][0-9]{0,9})(?:\*([1-9][0-9]{0,9}))?")


def map_of(what: str, values: Any) -> NDArray[np.int64]:
    """A map (H, W) of whole numbers from 0.

    Raises:
        BadInput: naming ``what``, for anything else.
    """
    found = np.asarray(values)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "ui" or found.size > MOST_FEATURES:
        raise BadInput(f"{what} is a map (height, width) of whole numbers, got {found.dtype} of shape {found.shape}")
    if int(found.min()) < 0 or int(found.max()) > MOST:
        raise BadInput(f"{what} holds whole numbers from 0 to {MOST:,}, got {int(found.min())} to {int(found.max())}")
    return found.astype(np.int64)


def map_text(values: Any) -> str:
    """A map (H, W) as text: height and width, then how often each number stands in a row.

    >>> map_text([[0, 0, 0], [0, 2, 255]])
    '2x3 0*4 2 255'
    """
    found = map_of("a map", values)
    flat = found.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    runs = (f"{one}" if often == 1 else f"{one}*{often}" for one, often in zip(flat[starts], lengths, strict=True))
    return f"{found.shape[0]}x{found.shape[1]} " + " ".join(runs)


@lru_cache(maxsize=8)  # a few words may be a map of millions of pixels
def read_map(what: str, text: str) -> NDArray[np.int32]:
    """Inverse of :func:`map_text`; the array (H, W) cannot be written to.

    Raises:
        BadInput: naming ``what``, for any other text, also one that says the same in other words.

    >>> read_map("a map", "2x3 0*4 2 255").tolist()
    [[0, 0, 0], [0, 2, 255]]
    """
    head, _, rest = text.partition(" ") if isinstance(text, str) else ("", "", "")
    sides = re.fullmatch(r"([1-9][0-9]{0,9})x([1-9][0-9]{0,9})", head)
    if sides is None:
        raise BadInput(f"{what} is written HEIGHTxWIDTH and then its runs, such as '2x3 0*4 2 255', got {text!r:.40}")
    height, width = int(sides[1]), int(sides[2])
    if height * width > MOST_FEATURES:
        raise BadInput(f"no image has {height} x {width} pixels")
    if height * width > SMALL:
        check_room(what, AS_READ * height * width)
    runs = [_RUN.fullmatch(one) for one in rest.split(" ")]
    if not all(runs):
        raise BadInput(f"{what} is damaged: its runs are numbers such as 7, or 0*4 for four times 0")
    numbers, often = np.array([[int(one[1]), int(one[2] or 1)] for one in runs if one]).T
    if often.sum() != height * width or numbers.max() > MOST:
        raise BadInput(f"{what} is damaged: {often.sum():,} numbers are no map of {height} x {width} pixels")
    found = np.repeat(numbers.astype(np.int32), often).reshape(height, width)
    if map_text(found) != text:
        raise BadInput(f"{what} is damaged: neighbouring runs hold the same number")
    found.setflags(write=False)
    return found
