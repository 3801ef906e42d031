"""Per-feature scales of a threat model: how far one feature may move compared with another, 0 for not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from certify.bounded.arrays import array_of
from certify.errors import BadInput

__all__ = ["Scale", "check_scale", "read_scale", "scale_digest", "scale_in_words"]

Scale = tuple[float, ...]
"""One number >= 0 for each feature, in the order of the flattened input."""


def check_scale(scale: Any) -> Scale:
    """A scale from anything array-like, flat.

    Raises:
        BadInput: for no numbers, negative or non-finite ones, or nothing but zeros.

    >>> check_scale(np.array([[1, 0], [0.5, 1]]))
    (1.0, 0.0, 0.5, 1.0)
    """
    try:
        array = np.asarray(scale)
        if array.dtype.kind not in "buif":
            raise TypeError(f"it holds {array.dtype}")
        values = array.astype(np.float64).ravel()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise BadInput(f"a scale is an array of numbers >= 0, one for each feature ({problem})") from problem
    wrong = values[~(np.isfinite(values) & (values >= 0))]
    if wrong.size:
        raise BadInput(f"a scale holds finite numbers >= 0, one for each feature; got {wrong[0]}")
    if not values.any():
        raise BadInput("a scale of nothing but 0 lets no feature move; give at least one number above 0")
    if isinstance(scale, tuple) and all(type(value) is float for value in scale) and not np.signbit(values).any():
        return scale  # the very one: ten thousand records share it
    return tuple(np.abs(values).tolist())  # which makes -0 a 0


def scale_digest(scale: Scale) -> str:
    """SHA-256 of the numbers as little-endian float64."""
    return hashlib.sha256(np.asarray(scale, dtype="<f8").tobytes()).hexdigest()


def scale_in_words(scale: Scale) -> str:
    """What a table's head says of a scale.

    >>> scale_in_words((1.0, 0.0, 1.0))
    'per-feature scale (sha256 68f962b4), 1 of 3 features immutable'
    """
    frozen = scale.count(0.0)
    return f"per-feature scale (sha256 {scale_digest(scale)[:8]})" + (
        f", {frozen} of {len(scale)} features immutable" if frozen else f", {len(scale)} features"
    )


def read_scale(file: str) -> Scale:
    """The scale in a file that ``numpy.save`` wrote; pickled objects are refused.

    Raises:
        BadInput: if there is no such file, or it holds no plain array, or no scale.
    """
    path = Path(file)
    try:
        array = array_of(path)
    except OSError as problem:
        raise BadInput(f"cannot read scale {path} ({problem.strerror}); check the path") from problem
    except ValueError as problem:
        raise BadInput(f"{path} holds no plain array ({problem}); save one with numpy.save(FILE, scale)") from problem
    return check_scale(array)
