"""An input as records keep it: the bytes of its floats, so that nothing is lost to decimals."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """One input of float values.

    Args:
        dtype, shape: as numpy names them, without a batch axis.
        base64: the little-endian bytes.

    >>> Example.of(np.float32([0.25, 1.0])).values
    array([0.25, 1.  ], dtype=float32)
    """

    dtype: str
    shape: tuple[int, ...]
    base64: str

    @classmethod
    def of(cls, x: NDArray[np.floating]) -> Example:
        """Keep an array."""
        little = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
        return cls(x.dtype.name, x.shape, base64.b64encode(little.tobytes()).decode("ascii"))

    @property
    def values(self) -> NDArray[np.floating]:
        """The array; ValueError or TypeError where the bytes are none of its."""
        little = np.frombuffer(base64.b64decode(self.base64), dtype=np.dtype(self.dtype).newbyteorder("<"))
        return little.reshape(self.shape).astype(self.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"dtype": self.dtype, "shape": list(self.shape), "base64": self.base64}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Example:
        """Inverse of :meth:`to_dict`; ValueError or TypeError for what is no array of floats."""
        kept = cls(fields["dtype"], tuple(fields["shape"]), fields["base64"])
        if not np.issubdtype(kept.values.dtype, np.floating):
            raise ValueError(f"an example of {kept.dtype} holds no floats")
        return kept
