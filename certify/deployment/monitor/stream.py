"""Where a monitor's inputs come from: a table or lines of JSON that grow, a folder, or standard input.

Each time, a source is read from its beginning; rows that were there before are told by their ids, or by their places.
Only lines that have ended count: the last one may still be written.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

import numpy as np

from certify.bounded.arrays import array_of
from certify.bounded.files import opened
from certify.bounded.texts import strictly_from_json
from certify.core.input_box import InputBox, check_box
from certify.data.images import SUFFIXES, image_of
from certify.errors import BadInput, DataError, one_line

__all__ = ["Item", "Stream", "require_source", "stream_of"]

NAMED: Final = ("id", "time", "label", "group")
"""Columns that are no features."""

LONGEST: Final = 2**26
"""Bytes of a line at most."""

LABELS: Final = "labels.csv"
"""What the labels of a folder are called."""


class Item(NamedTuple):
    """One row or label as it stands in a stream, unread apart from being one.

    Args:
        where: names it in messages.
        id: what it is called.
        x: the features; None for a label alone.
        label, time, group: None where there is none.
    """

    where: str
    id: str
    x: Any
    label: Any
    time: str | None
    group: str | None


class Stream(Protocol):
    """A source of rows."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def columns(self) -> tuple[str, ...] | None:
        """The names of the features, in their order; None where they have none."""

    def items(self) -> Iterator[Item]:
        """Rows and labels, in their order."""


def stream_of(source: str, input_box: InputBox | None = None, units: str = "") -> Stream:
    """The source of that name: ``-`` for standard input, a folder, or a file of CSV or JSON lines.

    Args:
        source: the name.
        input_box, units: of the run, which a first line of JSON may state again.

    Raises:
        BadInput: if there is no such thing.
        DataError: for a header that cannot be.
    """
    require_source(source)
    if source == "-":
        return _Lines("standard input", sys.stdin.buffer, input_box, units)
    path = Path(source)
    return _Folder(path) if path.is_dir() else _Lines(source, None, input_box, units)


def require_source(source: str) -> None:
    """Refuse a source that is not there.

    Raises:
        BadInput: for one that is no folder, no file that can be read, and not ``-``.
    """
    path = Path(source)
    if source == "-" or path.is_dir():
        return
    if not path.exists():
        raise BadInput(f"there is no file or folder {source}; name a stream, or - for standard input")
    try:
        with opened(path):
            pass
    except OSError as problem:
        said = f"{source} cannot be read ({problem.strerror})"
        raise BadInput(f"{said}; name a stream, or - for standard input") from problem


class _Lines:
    """CSV with a header, or an object of JSON on each line; which of them, the first character says."""

    def __init__(self, name: str, given: IO[bytes] | None, input_box: InputBox | None, units: str) -> None:
        self.name = name
        self._box, self._units = input_box, units
        self._lines = _ended(name, given)
        first = next(self._lines, "")
        self._json = first.lstrip().startswith("{")
        self._first, self._header = first, list[str]()
        self._columns: tuple[str, ...] | None = None
        if self._json:
            self._stated()
        elif first:
            self._read_header()

    def columns(self) -> tuple[str, ...] | None:
        return self._columns

    def items(self) -> Iterator[Item]:
        return self._from_json() if self._json else self._from_csv()

    def _read_header(self) -> None:
        try:
            self._header = [name.strip() for name in next(csv.reader([self._first]))]
        except csv.Error as problem:
            raise DataError(f"{self.name} is no table of text ({problem})") from problem
        if len(set(self._header)) < len(self._header):
            raise DataError(f"{self.name} has two columns of one name in its header")
        features = tuple(name for name in self._header if name not in NAMED)
        if not features and not {"id", "label"} <= set(self._header):
            raise DataError(f"{self.name} holds no features; a table of labels alone has the columns id and label")
        self._columns = features or None

    def _from_csv(self) -> Iterator[Item]:
        places = {name: place for place, name in enumerate(self._header)}
        features = [place for name, place in places.items() if name not in NAMED]
        try:
            for number, cells in enumerate(csv.reader(self._lines, strict=True), 1):  # no quote stays open
                if not cells:
                    continue
                where = f"{self.name} row {number}"
                if len(cells) != len(self._header):
                    raise DataError(f"{where} has {len(cells)} columns, the header names {len(self._header)}")

                def cell(name: str, cells: list[str] = cells) -> str | None:
                    return cells[places[name]].strip() or None if name in places else None

                texts = [cells[place].strip() for place in features]
                id = cell("id") if "id" in places else f"row {number}"
                if id is None:
                    raise DataError(f"{where} has no id")
                values = [self._value(text, where) for text in texts] if any(texts) else None
                yield Item(where, id, values, cell("label"), cell("time"), cell("group"))
        except csv.Error as problem:
            raise DataError(f"{self.name} is no table of text ({problem})") from problem

    def _value(self, text: str, where: str) -> float:
        try:
            return float(text) if text else math.nan
        except ValueError:
            raise DataError(f"{where}: {text[:40]!r} is no number") from None

    def _stated(self) -> None:
        """What a first line of JSON states about all others: columns, box and units."""
        head = self._object(self._first, f"{self.name} line 1")
        if "x" in head or "label" in head:
            self._lines = _before(self._first, self._lines)
            return
        if unknown := sorted(head.keys() - {"columns", "box", "units"}):
            raise DataError(f"{self.name} line 1 holds no x and no label, but {unknown[0][:40]!r}")
        if "columns" in head:
            names = head["columns"]
            if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
                raise DataError(f"{self.name} line 1: columns is a list of names")
            self._columns = tuple(names)
        if "box" in head and (box := check_box(head["box"])) != self._box:
            raise DataError(f"{self.name} states the input box {box}, the run has {self._box or 'none'}")
        if "units" in head and head["units"] != self._units:
            raise DataError(f"{self.name} is in {str(head['units'])[:40]!r}, the run in {self._units!r}")

    def _from_json(self) -> Iterator[Item]:
        number, named = 0, None
        for line in self._lines:
            if not line.strip():
                continue
            number += 1
            where = f"{self.name} row {number}"
            fields = self._object(line, where)
            if unknown := sorted(fields.keys() - {"x", *NAMED}):
                raise DataError(f"{where} has a field {unknown[0][:40]!r}; there are x, {', '.join(NAMED)}")
            if named is not None and ("id" in fields) != named:
                raise DataError(f"{where}: either every row has an id, or none")
            named = "id" in fields
            x = fields.get("x")
            if x is not None:
                x = _array(x, where)
            texts = {name: None if fields.get(name) is None else str(fields[name]) for name in ("time", "group")}
            id = fields["id"] if named else f"row {number}"
            if id in (None, ""):
                raise DataError(f"{where} has no id")
            yield Item(where, str(id), x, fields.get("label"), **texts)

    def _object(self, line: str, where: str) -> Mapping[str, Any]:
        try:
            fields = strictly_from_json(line)
        except ValueError as problem:
            raise DataError(f"{where} is no JSON ({one_line(problem)})") from problem
        if not isinstance(fields, dict):
            raise DataError(f"{where} is no object of JSON with x, and perhaps id, label, time and group")
        return fields


def _array(x: Any, where: str) -> np.ndarray[Any, Any]:
    """Lists of numbers as an array; null stands for a missing value."""
    try:
        return np.array(x, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as problem:
        raise DataError(f"{where}: x is no array of numbers") from problem


def _ended(name: str, given: IO[bytes] | None) -> Iterator[str]:
    """Lines that have an end, as text."""
    if given is not None:
        yield from _texts(name, given)
        return
    try:
        with opened(name) as file:
            yield from _texts(name, file)
    except OSError as problem:
        raise DataError(f"{name} cannot be read ({problem.strerror})") from problem


def _texts(name: str, file: IO[bytes] | io.BufferedReader) -> Iterator[str]:
    first = True
    while line := file.readline(LONGEST):
        if not line.endswith(b"\n"):
            if len(line) == LONGEST:
                raise DataError(f"{name} has a line of more than {LONGEST:,} bytes")
            return
        try:
            yield line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as problem:
            raise DataError(f"{name} is no text in UTF-8 ({problem.reason})") from problem
        first = False


def _before(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


class _Folder:
    """A file for each input, in the order of their names, and perhaps ``labels.csv`` with the columns id and label."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def columns(self) -> tuple[str, ...] | None:
        return None

    def items(self) -> Iterator[Item]:
        try:
            files = sorted(self._path.iterdir())
        except OSError as problem:
            raise DataError(f"{self.name} cannot be read ({problem.strerror})") from problem
        for file in files:
            if file.name.startswith(".") or file.name == LABELS:
                continue
            yield Item(str(file), file.name, self._read(file), None, None, None)
        if (labels := self._path / LABELS).exists():
            yield from _Lines(str(labels), None, None, "").items()

    def _read(self, file: Path) -> np.ndarray[Any, Any]:
        if file.suffix.lower() in SUFFIXES:
            return image_of(file)
        if file.suffix != ".npy":
            raise DataError(f"{file} is no picture and no .npy; a stream holds a file for each input, and {LABELS}")
        try:
            return array_of(file)
        except OSError as problem:
            raise DataError(f"{file} cannot be read ({problem.strerror})") from problem
        except ValueError as problem:
            raise DataError(f"{file} holds no plain array ({problem})") from problem
