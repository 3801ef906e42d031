"""What audits of claims share: a fair draw, a line of progress, reasons in words, a folder for what refutes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from certify.core.audited import Audited, Standing
from certify.core.legible import legible_line
from certify.errors import BadInput, CertifyError, one_line
from certify.process import out_of_memory

__all__ = ["TIMEOUT", "make_folder", "sampled", "tally", "why"]

TIMEOUT: Final = 10.0
"""Seconds for each search, where nothing else is asked for."""


def sampled(keys: Iterable[tuple[str, str]], count: int, seed: int) -> frozenset[str]:
    """Draw keys evenly from families: one of each family, then a second, until there are enough.

    Which are drawn depends on the seed and on nothing else, such as the order of the keys.

    >>> sorted(sampled([("a", "a1"), ("a", "a2"), ("b", "b1")], 2, seed=0))
    ['a2', 'b1']
    """
    families: dict[str, list[str]] = {}
    for family, key in keys:
        families.setdefault(family, []).append(key)

    def lot(key: str) -> str:
        return hashlib.sha256(f"audit {seed} {key}".encode("utf-8", "surrogatepass")).hexdigest()

    ranked = [(rank, lot(key), key) for some in families.values() for rank, key in enumerate(sorted(some, key=lot))]
    return frozenset(key for _, _, key in sorted(ranked)[:count])


def tally(found: Iterable[Audited]) -> str:
    """How many claims stand where so far, for a line of progress."""
    counts = dict.fromkeys(Standing, 0)
    for one in found:
        counts[one.standing] += 1
    return "  ".join(f"{count} {standing.value}" for standing, count in counts.items() if count)


def why(problem: Exception) -> str:
    """Why an input or an instance could not be examined, in one line."""
    if out_of_memory(problem):
        return "memory ran out"
    return legible_line(str(problem) if isinstance(problem, CertifyError) else one_line(problem))


def make_folder(out: Path | str) -> Path:
    """A folder to write to, made if it is not there.

    Raises:
        BadInput: if it cannot be.
    """
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BadInput(f"cannot make the folder {out} ({problem.strerror}); choose another --out") from problem
    return Path(out)
