"""What pins a data set: a digest that its records alone can derive again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from numbers import Real

__all__ = ["about", "data_digest", "digest_in_order", "target_of"]


def target_of(value: object) -> float | str | None:
    """The target that a record holds, None for anything else than a number that a float holds, or a text.

    >>> target_of(3), target_of("1x2 0 1"), target_of(10**400)
    (3.0, '1x2 0 1', None)
    """
    if isinstance(value, str):
        return value
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def about(input_digest: str, target: float | str | None) -> str:
    """What tells an input from others: the digest of its values, and the number that belongs to it, if one does.

    Or the digest of the label map that belongs to it.

    >>> about("ab", None), about("ab", 0.5), about("ab", "1x2 0 1")[:11]
    ('ab', 'ab:0x1.0000000000000p-1', 'ab:9b32c367')
    """
    if isinstance(target, str):
        return f"{input_digest}:{hashlib.sha256(target.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return input_digest if target is None else f"{input_digest}:{target.hex()}"


def data_digest(rows: Iterable[tuple[int, int, str]]) -> str:
    """SHA-256 over position, label and digest of every input, by ascending position.

    Certificates carry all three, so whoever holds the records of a whole run can tell that none was left out, repeated
    or changed, without the data.

    >>> data_digest([(1, 0, "ab"), (0, 7, "cd")]) == data_digest([(0, 7, "cd"), (1, 0, "ab")])
    True
    """
    return digest_in_order(sorted(rows))


def digest_in_order(rows: Iterable[tuple[int, int, str]]) -> str:
    """:func:`data_digest` of rows that come by ascending position: they need not all fit into memory."""
    digest = hashlib.sha256()
    for index, label, of_input in rows:
        digest.update(f"{index} {label} {of_input}\n".encode())
    return digest.hexdigest()
