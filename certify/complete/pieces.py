"""Work cut into pieces that several processes do: how it is cut depends on how much there is, never on who does it."""

from __future__ import annotations

__all__ = ["pieces"]

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
