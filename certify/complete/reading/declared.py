"""What a property says about the network it is for, besides the question."""

from __future__ import annotations

import math
from dataclasses import dataclass

from certify.complete.query import Query

__all__ = ["Declared", "Property", "Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as VNN-LIB 2.0 declares it.

    >>> print(Tensor("X", "float32", (1, 2)))
    X float32 [1,2]
    """

    name: str
    type: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type} [{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Declared:
    """The network that a VNN-LIB 2.0 property names, with its input and its output."""

    network: str
    input: Tensor
    output: Tensor


@dataclass(frozen=True, slots=True)
class Property:
    """A query, and the declaration it came with: None in VNN-LIB 1.0, which names neither network nor tensors."""

    query: Query
    declared: Declared | None = None
