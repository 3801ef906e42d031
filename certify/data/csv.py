"""``csv:FILE``: a table of numbers, or of texts, with one column of labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.bounded.files import content_of
from certify.bounded.memory import room
from certify.core.threats.substitutions import words_of
from certify.data.dataset import Dataset
from certify.data.labels import column_of, labels_of, true_values
from certify.data.loaders import loader
from certify.data.texts import load_texts
from certify.errors import BadInput, DataError

__all__ = ["feature_names", "load_csv", "words_in"]

PARSED: Final = 12
"""Bytes that each byte of a table may take until it is a data set: "0," becomes a float64, a float32 and its text."""


@loader("csv:FILE[:COLUMN] or csv:FILE:TEXT,LABEL:VOCABULARY[:LENGTH]")
def load_csv(where: str, regression: bool = False) -> Dataset:
    """A table with a header line: labels in the column ``label`` or the one named, a feature in every other.

    The file may be gzipped. Features (n, columns) are taken as they are and have no bounds (no input box). Labels are
    whole numbers from 0, or names, which are numbered in alphabetical order; true values of a regression are any
    finite numbers. Two columns and a vocabulary say that a column holds texts, see
    :func:`~certify.data.texts.load_texts`.

    Raises:
        BadInput: if there is no such file.
        DataError: naming the row that holds something else than numbers, or has more or fewer columns than the header;
            for a file without header, labels or rows, or one that memory cannot hold.
    """
    file, column, texts = *_named(where), ""
    if column is not None and "," in column:
        texts, column = column, None
    path = Path(file)
    if not path.exists():
        raise BadInput(
            f"no file {file!r}; write csv:FILE, or csv:FILE:COLUMN for labels in another column than 'label'"
        )
    try:
        text = content_of(path, room() // PARSED, unpack=True).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text))
        header = [name.strip() for name in next(lines, [])]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise DataError(f"{path} cannot be read as a table of text in UTF-8 ({reason})") from problem
    if texts:
        if regression:
            raise BadInput("texts have labels, not the true values of a regression")
        return load_texts(path, lines, header, texts)
    place = column_of(str(path), header, column)
    if len(header) < 2 or not any(lines):
        raise DataError(f"{path} holds no features, or no rows: give a header line, and a line for each input")
    written: list[str] = []

    def keep(text: str) -> float:
        written.append(text)
        return 0.0

    try:
        values = np.loadtxt(
            io.StringIO(text),
            delimiter=",",
            quotechar='"',
            comments=None,
            skiprows=1,
            ndmin=2,
            converters={place: keep},
        )
    except ValueError as problem:
        raise DataError(
            f"{path}: {str(problem).partition(';')[0]} (rows and columns count from 0, header apart)"
        ) from problem
    if values.shape[1] != len(header):
        raise DataError(f"{path}: rows have {values.shape[1]} columns, the header names {len(header)}")
    x: Any = np.delete(values, place, axis=1)
    y: Any = written[-len(values) :]
    y, classes = (true_values(str(path), y), 1) if regression else labels_of(str(path), y)
    return Dataset(path.name, x, y, max(2, int(y.max()) + 1) if classes is None else classes, input_box=None)


def feature_names(where: str) -> tuple[str, ...] | None:
    """What the features of ``csv:FILE[:COLUMN]`` are called, in their order; None where that cannot be read."""
    file, column = _named(where)
    try:
        text = content_of(Path(file), room() // PARSED, unpack=True).decode("utf-8-sig")
        header = [name.strip() for name in next(csv.reader(io.StringIO(text)), [])]
        place = column_of(file, header, column)
    except (OSError, UnicodeDecodeError, csv.Error, DataError):
        return None
    return (*header[:place], *header[place + 1 :])


def _named(where: str) -> tuple[str, str | None]:
    """The file, and what follows it: a column, or two of them with a vocabulary; None for nothing."""
    if Path(where).exists() or ":" not in where:
        return where, None
    parts = where.split(":")
    first = next((place for place, part in enumerate(parts) if place and "," in part), len(parts) - 1)
    return ":".join(parts[:first]), ":".join(parts[first:])


def words_in(spec: str) -> tuple[str, ...] | None:
    """The words of a data SPEC ``csv:FILE:TEXT,LABEL:VOCABULARY[:LENGTH]`` by their ids; None for any other SPEC.

    Raises:
        BadInput: for a vocabulary that cannot be read.

    >>> words_in("digits") is None
    True
    """
    form, _, where = spec.partition(":")
    asked = _named(where)[1] if form == "csv" else None
    if asked is None or "," not in asked:
        return None
    file = asked.partition(":")[2]
    before, _, last = file.rpartition(":")
    return tuple(words_of(before if before and last.isascii() and last.isdigit() else file))
