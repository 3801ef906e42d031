"""Independent work on several cores: threads, since torch leaves Python's lock while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["each"]

T = TypeVar("T")
R = TypeVar("R")


def each(function: Callable[[T], R], parts: Sequence[T], workers: int) -> Iterator[R]:
    """``function`` of every part, in order, whatever is ready first.

    >>> list(each(abs, [1, -2], workers=2))
    [1, 2]
    """
    if workers == 1 or len(parts) <= 1:
        yield from map(function, parts)
        return
    with ThreadPoolExecutor(min(workers, len(parts))) as pool:
        yield from pool.map(function, parts)
