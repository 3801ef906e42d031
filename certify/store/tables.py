"""Tables with commas that others wrote: read in bounded memory, every complaint with its file and line."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from certify.bounded.files import content_of, text_room
from certify.errors import DataError
from certify.store.log_lines import Fields

__all__ = ["Table", "column_among", "first_cells", "read_table"]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns and rows of one file.

    Args:
        path: the file, as messages name it.
        digest: SHA-256 of the text, unpacked.
        columns: their names, in lower case.
        rows: what stands below them; cells have no spaces around them.
    """

    path: Path
    digest: str
    columns: tuple[str, ...]
    rows: tuple[Fields, ...]


def first_cells(path: Path | str) -> tuple[str, ...]:
    """The cells of the first line of a file; none where it is no text or cannot be read."""
    try:
        lines, _ = _lines(Path(path))
    except DataError:
        return ()
    return tuple(next(((*row,) for _, row in lines), ()))


def read_table(path: Path | str, headless: Sequence[str] = ()) -> Table:
    """Read a table, plain or gzipped (told by its first bytes); its first line names the columns.

    Args:
        path: the file.
        headless: the columns of a table whose first line names none, because it holds a name that ends in ``.onnx``.

    Raises:
        DataError: for a file that cannot be read, is no text or has no row; a column that stands twice; a row with more
            or fewer cells than there are columns.
    """
    path = Path(path)
    lines, digest = _lines(path)
    if not lines:
        raise DataError(f"{path} is empty: it has not even a line that names its columns")
    columns = tuple(name.lower() for name in lines[0][1])
    if headless and any(name.removesuffix(".gz").endswith(".onnx") for name in columns):
        columns = tuple(headless)
    else:
        lines = lines[1:]
    if twice := sorted(name for name, count in Counter(columns).items() if count > 1):
        raise DataError(f"{path} has two columns {twice[0]!r:.60}; name each column once")
    if not lines:
        raise DataError(f"{path} holds no row below the line that names its columns")
    rows = []
    for line, cells in lines:
        if len(cells) != len(columns):
            raise DataError(
                f"{path} line {line} has {len(cells)} cells where there are {len(columns)} columns "
                f"({', '.join(columns):.200}); it may be cut short: repair or remove the line"
            )
        rows.append(Fields(path, line, dict(zip(columns, cells, strict=True))))
    return Table(path, digest, columns, tuple(rows))


def column_among(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The first of some names that is a column; None where none is.

    >>> column_among(["onnx", "expected"], ["result", "expected"])
    'expected'
    """
    there = {*columns}
    return next((name for name in names if name in there), None)


def _lines(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """The lines that are not empty as cells, each with its number; and the digest of the text."""
    try:
        text = content_of(path, text_room(), unpack=True).decode("utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise DataError(f"cannot read table {path} ({reason}); check the path, or fetch it again") from problem
    digest = hashlib.sha256(text.encode()).hexdigest()
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)], digest
