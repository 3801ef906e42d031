"""Shares, samples and weights that somebody gave as text or in files: read, or refused in one line."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from certify.bounded.arrays import arrays_of
from certify.core.sandwich import Sandwich
from certify.core.written import decimal
from certify.errors import BadInput, DataError, one_line
from certify.registry import nearest
from certify.summary.group_columns import group_column

__all__ = ["sample_of", "shares_of", "weights_of"]

_FORMS: Final = "FILE.csv:COLUMN or FILE.npz:ARRAY"


def shares_of(text: str) -> dict[str, float | tuple[float, float]]:
    """Shares of groups: ``GROUP=SHARE,GROUP=LOW..HIGH``, or a CSV file with columns group, share or group, low, high.

    Raises:
        BadInput: for another form, a number that is none, or a group that is named twice.
        DataError: for a file that cannot be read.

    >>> shares_of("cat=0.25,dog=0.5..1")
    {'cat': 0.25, 'dog': (0.5, 1.0)}
    """
    if text.endswith(".csv"):
        return _shares_in(Path(text))
    found: dict[str, float | tuple[float, float]] = {}
    for part in text.split(","):
        group, equals, value = (one.strip() for one in part.rpartition("="))
        if not (equals and group and value):
            raise BadInput(f"shares are GROUP=SHARE,.. such as 0=0.3,1=0.7, or a file FILE.csv; got {text!r:.60}")
        low, dots, high = value.partition("..")
        _put(found, group, (_share(group, low), _share(group, high)) if dots else _share(group, value))
    return found


def _put(found: dict[str, float | tuple[float, float]], group: str, value: float | tuple[float, float]) -> None:
    if group in found:
        raise BadInput(f"group {group!r:.40} has two shares; give it one")
    found[group] = value


def _share(group: str, text: str) -> float:
    try:
        return decimal(text.strip())
    except (ValueError, OverflowError):
        raise BadInput(f"the share of {group!r:.40} is no number: {text!r:.40}; write 0.3") from None


def _shares_in(path: Path) -> dict[str, float | tuple[float, float]]:
    known, lines = _lines(path)
    ends = ("low", "high") if "low" in known else ("share",)
    for wanted in ("group", *ends):
        if wanted not in known:
            raise BadInput(f"{path} has no column {wanted!r}{nearest(wanted, known)} known: {', '.join(known)}")
    found: dict[str, float | tuple[float, float]] = {}
    for line in lines:
        group = (line["group"] or "").strip()
        values = [_share(group, line[end] or "") for end in ends]
        _put(found, group, values[0] if len(values) == 1 else (values[0], values[1]))
    return found


def sample_of(spec: str) -> list[Any]:
    """The group of every input of a sample: a column of a CSV file, or an array, in any order.

    Raises:
        BadInput: for another form, no such file, column or array.
        DataError: for a file that cannot be read, or a line without a group.
    """
    path, column = _named("sample", spec)
    if path.suffix == ".npz":
        try:
            found, known = arrays_of(path, [column])
        except (OSError, ValueError) as problem:
            raise DataError(f"{path} cannot be read: {one_line(problem)}") from problem
        if column not in found:
            raise BadInput(f"{path} has no array {column!r}{nearest(column, known)} known: {', '.join(known)}")
        if found[column].ndim != 1:
            raise BadInput(f"{spec} has shape {found[column].shape}; a sample has one group for each input")
        return list(found[column].tolist())
    known, lines = _lines(path)
    if column not in known:
        raise BadInput(f"{path} has no column {column!r}{nearest(column, known)} known: {', '.join(known)}")
    values = [(line[column] or "").strip() for line in lines]
    if "" in values:
        raise DataError(f"{path} line {values.index('') + 2}: no {column}; give every input its group")
    return values


def weights_of(spec: str, sandwich: Sandwich, size: int | None) -> Mapping[int, Any]:
    """The weight of each input by its position: a column beside ``index``, or an array over the whole data set.

    Raises:
        BadInput: for another form, no such file or column, or an array of another length.
        DataError: for a file that cannot be read, or positions that repeat.
    """
    _named("weights", spec)
    _, found = group_column(spec, sandwich, size)
    assert isinstance(found, Mapping)  # only labels are in order
    return found


def _named(what: str, spec: str) -> tuple[Path, str]:
    file, _, column = spec.rpartition(":")
    path = Path(file)
    if not (column and path.suffix in (".csv", ".npz")):
        raise BadInput(f"{what} {spec!r:.60} is none of {_FORMS}")
    if not path.is_file():
        raise BadInput(f"{what}: there is no file {file}")
    return path, column


def _lines(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            known = list(reader.fieldnames or ())
            return known, [dict(line) for line in reader]
    except (OSError, csv.Error, ValueError) as problem:
        raise DataError(f"{path} cannot be read: {one_line(problem)}") from problem
