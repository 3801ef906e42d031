"""Data sets from arrays of unknown origin."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.input_box import BoxLike
from certify.data.dataset import Dataset
from certify.errors import DataError

__all__ = ["from_arrays"]


def from_arrays(
    name: str,
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    num_classes: int | None = None,
    input_box: BoxLike = (0.0, 1.0),
) -> Dataset:
    """A data set from arrays of unknown origin; ``num_classes`` defaults to the largest label plus one, at least 2.

    Raises:
        DataError: if ``x`` does not hold real numbers, or the arrays do not make a data set.
    """
    if x.dtype.kind not in "buif":
        raise DataError(f"{name}: inputs must be numbers, got {x.dtype}")
    if x.size == 0:
        raise DataError(f"{name}: inputs of shape {x.shape} hold no values")
    if num_classes is None:
        num_classes = max(2, int(y.max(initial=0)) + 1) if y.dtype.kind in "ui" else 2
    with np.errstate(over="ignore"):  # an overflow to infinity is refused by name in Dataset
        return Dataset(name, x.astype(np.float32, copy=False), y, num_classes, input_box)
