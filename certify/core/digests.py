"""What pins a data set: a digest that its records alone can derive again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["data_digest"]


def data_digest(rows: Iterable[tuple[int, int, str]]) -> str:
    """SHA-256 over position, label and digest of every input, by ascending position.

    Certificates carry all three, so whoever holds the records of a whole run can tell that none was left out, repeated
    or changed, without the data.

    >>> data_digest([(1, 0, "ab"), (0, 7, "cd")]) == data_digest([(0, 7, "cd"), (1, 0, "ab")])
    True
    """
    digest = hashlib.sha256()
    for index, label, of_input in sorted(rows):
        digest.update(f"{index} {label} {of_input}\n".encode())
    return digest.hexdigest()
