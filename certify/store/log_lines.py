"""The text of tab-separated logs: unpacked, split, every field checked, every complaint with its file and line."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from certify.bounded.files import content_of, text_room
from certify.errors import DataError

__all__ = ["Fields", "LogText", "read_log_text", "seconds", "whole"]

T = TypeVar("T")

_CLOCK: Final = re.compile(r"(?:(\d+) days?, )?(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class LogText:
    """The columns and lines of one log file.

    Args:
        name: the file's name, without its folder.
        path: the file, as messages name it.
        digest: SHA-256 of the text, unpacked.
        columns: names in the header line.
        lines: the lines below the header; the first of them is line 2 of the file.
    """

    name: str
    path: Path
    digest: str
    columns: tuple[str, ...]
    lines: tuple[str, ...]

    def fields(self) -> Iterator[Fields]:
        """The fields of each line, by column.

        Raises:
            DataError: for a line with more or fewer fields than the header names.
        """
        for number, line in enumerate(self.lines, start=2):
            texts = line.split("\t")
            if len(texts) != len(self.columns):
                raise DataError(
                    f"{self.path} line {number} has {len(texts)} fields where the header names {len(self.columns)}; "
                    "it may be cut short: repair or remove the line"
                )
            yield Fields(self.path, number, dict(zip(self.columns, texts, strict=True)))


@dataclass(frozen=True, slots=True)
class Fields:
    """One line of a log."""

    path: Path
    line: int
    texts: dict[str, str]

    def read(self, column: str, kind: Callable[[str], T], what: str) -> T:
        """The value of a column, where it is ``what`` it should be; any ValueError says it is not."""
        try:
            return kind(self.texts[column])
        except ValueError:
            raise self.wrong(f"{column} {self.texts[column]!r:.60} is not {what}") from None

    def wrong(self, complaint: str) -> DataError:
        """An error that names the file and the line."""
        return DataError(f"{self.path} line {self.line}: {complaint}")


def read_log_text(path: Path | str, known: Sequence[Sequence[str]]) -> LogText:
    """Read a log, plain or gzipped (told by its first bytes, not by its name); line ends of either kind.

    Args:
        path: the file.
        known: the sets of columns that a log may have, in any order.

    Raises:
        DataError: for a file that cannot be read, is damaged or empty, or has other columns.
    """
    path = Path(path)
    try:
        text = content_of(path, text_room(), unpack=True).decode("utf-8")
    except OSError as problem:
        raise DataError(f"cannot read log {path} ({problem.strerror}); check the path, or fetch it again") from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"log {path} is no text ({problem}); fetch it again") from problem
    lines = text.splitlines()
    if not lines:
        raise DataError(f"log {path} is empty: it has not even a header line")
    columns = tuple(lines[0].split("\t"))
    if not any(sorted(columns) == sorted(names) for names in known):
        expected = " or ".join(" ".join(names) for names in known)
        raise DataError(f"{path} line 1 names the columns {' '.join(columns)!r}; a log has, tab-separated, {expected}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return LogText(path.name, path, digest, columns, tuple(lines[1:]))


def whole(text: str) -> int:
    """A whole number in decimal digits; ValueError otherwise.

    >>> whole("-1"), whole("17")
    (-1, 17)
    """
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise ValueError(text)
    return int(text)


def seconds(text: str) -> float:
    """A duration in seconds, from either format of the field; ValueError otherwise.

    >>> seconds("1:02:03.5"), seconds("14.25")
    (3723.5, 14.25)
    """
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, rest = clock.groups(default="0")
        return 86400.0 * int(days) + 3600.0 * int(hours) + 60.0 * int(minutes) + float(rest)
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(text)
    return value
