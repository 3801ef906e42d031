"""An input as records keep it: the bytes of its floats, so that nothing is lost to decimals."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.core.schema import Count

__all__ = ["Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """One input of float values.

    Args:
        dtype, shape: as numpy names them, without a batch axis.
        base64: the little-endian bytes.

    Raises:
        TypeError, ValueError: for what is no array of floats.

    >>> Example.of(np.float32([0.25, 1.0])).values
    array([0.25, 1.  ], dtype=float32)
    """

    dtype: str
    shape: tuple[Count, ...]
    base64: str

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32", "float64") or self.values.shape != self.shape:
            raise ValueError(f"{self.dtype} of shape {self.shape} are no floats of an input")

    @classmethod
    def of(cls, x: NDArray[np.floating]) -> Example:
        """Keep an array."""
        little = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
        return cls(x.dtype.name, x.shape, base64.b64encode(little.tobytes()).decode("ascii"))

    @property
    def values(self) -> NDArray[np.floating]:
        """The array."""
        little = np.frombuffer(base64.b64decode(self.base64), dtype=np.dtype(self.dtype).newbyteorder("<"))
        return little.reshape(self.shape).astype(self.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"dtype": self.dtype, "shape": list(self.shape), "base64": self.base64}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Example:
        """Inverse of :meth:`to_dict`."""
        return cls(fields["dtype"], tuple(fields["shape"]), fields["base64"])
