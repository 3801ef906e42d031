"""Work cut into pieces that several threads do: how it is cut depends on how much there is, never on who does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["each", "pieces"]

T = TypeVar("T")
R = TypeVar("R")

LEAST = 32
"""A piece of fewer is not worth being done beside others: it takes nearly as long as all together."""


def pieces(count: int, most: int) -> list[slice]:
    """Slices of about the same length, at most ``most``, that cover a range; an even number of them unless it is small.

    >>> pieces(7, 3), pieces(100, 256), pieces(0, 3)
    ([slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)], [slice(0, 50, None), slice(50, 100, None)], [])
    """
    number = -(-count // most)
    if count >= 2 * LEAST:
        number += number % 2
    size = -(-count // max(1, number))
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, max(1, size))]


def each(function: Callable[[T], R], parts: Sequence[T], workers: int) -> Iterator[R]:
    """``function`` of every part, in order. Threads suffice: torch releases Python's lock while it computes.

    >>> list(each(abs, [1, -2], workers=2))
    [1, 2]
    """
    if workers == 1 or len(parts) <= 1:
        yield from map(function, parts)
        return
    with ThreadPoolExecutor(min(workers, len(parts))) as pool:
        yield from pool.map(function, parts)
