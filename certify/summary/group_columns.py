"""Where the groups of inputs come from: their class, or a column of a file beside the run."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.bounded.arrays import arrays_of
from certify.core.sandwich import Sandwich
from certify.errors import BadInput, DataError, one_line
from certify.registry import nearest

__all__ = ["group_column", "groups_of", "groups_without_inputs", "in_order", "whole_size"]

MOST_CLASSES: Final = 2**24
"""More than any model has; each of them gets a name."""

_FORMS: Final = "label, FILE.csv:COLUMN, FILE.npz:ARRAY, slices:FILE.csv or slices:FILE.npz"

_SLICES: Final = "slices:"

_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
"""How a file says of an input whether it is in a slice."""


def group_column(
    spec: str, sandwich: Sandwich, size: int | None = None
) -> tuple[str, Sequence[Any] | Mapping[int, Any]]:
    """What inputs are grouped by, and the group of each: in order, or by position in the data set.

    Args:
        spec: ``label`` for the true class; ``FILE.csv:COLUMN``, of a file with a column ``index`` that holds positions;
            ``FILE.npz:ARRAY``, with one entry for each input of the whole data set. ``slices:FILE.csv:COLUMN,COLUMN``,
            or without names all columns that hold truth values, makes each a slice: the group of an input is then the
            tuple of its slices, which may be none or several.
        sandwich: the inputs.
        size: how many inputs the whole data set has, where that is known.

    Raises:
        BadInput: for another form, no such file or column, an array of another length than the data set, or a slice
            that is not made of truth values, or has no input at all.
        DataError: for a file that cannot be read, or positions that repeat.
    """
    if spec == "label":
        return "label", sandwich.label.tolist()
    slices = spec.startswith(_SLICES)
    bare = spec.removeprefix(_SLICES)
    file, _, column = (bare, "", "") if slices and Path(bare).suffix in _READERS else bare.rpartition(":")
    path = Path(file)
    if path.suffix not in _READERS or not (column or slices):
        raise BadInput(f"unknown group {spec!r}{nearest(spec, ['label'])} groups are one of: {_FORMS}")
    if not path.is_file():
        raise BadInput(f"no file {file!r}; groups are one of: {_FORMS}")
    wanted = [one.strip() for one in column.split(",") if one.strip()] if slices else [column]
    try:
        read = _READERS[path.suffix](path, wanted)
    except (OSError, csv.Error, ValueError) as problem:
        raise DataError(f"{path} cannot be read: {one_line(problem)}") from problem
    columns = {name: _by_position(f"{file}:{name}", one, sandwich, size) for name, one in read.items()}
    return (column, columns[column]) if not slices else ("slice", _slices(path, columns, wanted))


def _by_position(
    spec: str, read: dict[int, str] | np.ndarray[Any, Any], sandwich: Sandwich, size: int | None
) -> dict[int, Any]:
    """The entry of the input at each position.

    Raises:
        BadInput: for an array of another length than the data set.
    """
    if not isinstance(read, np.ndarray):
        return read
    largest = int(sandwich.index.max())
    if read.ndim != 1 or len(read) <= largest or (size is not None and largest < size != len(read)):
        wanted = f"the {size:,} inputs" if size is not None and largest < size else f"inputs 0 to {largest:,} at least"
        raise BadInput(f"{spec} has shape {read.shape}; it needs one entry for each of {wanted} of the data set")
    return dict(enumerate(read.tolist()))


def _slices(path: Path, columns: Mapping[str, Mapping[int, Any]], wanted: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """The slices that each position is in.

    Raises:
        BadInput: for a column that was asked for and holds something else than truth values, no column that holds
            them, or a slice that no position is in.
    """
    told: dict[str, dict[int, bool]] = {}
    for name, column in columns.items():
        truths = {position: _TRUTHS.get(str(value).strip().lower()) for position, value in column.items()}
        held = {position: truth for position, truth in truths.items() if truth is not None}
        if len(held) == len(truths):
            told[name] = held
        elif name in wanted:
            other = next(position for position, truth in truths.items() if truth is None)
            raise BadInput(
                f"{path}:{name} is {column[other]!r:.40} for input {other}; a slice is true or false, 1 or 0"
            )
    if not told:
        raise BadInput(f"{path} has no column of truth values: a slice is true or false, 1 or 0, for every input")
    for name, held in told.items():
        if not any(held.values()):
            raise BadInput(f"no input is in slice {name} of {path}: leave it out")
    positions = next(iter(told.values()))
    return {position: tuple(name for name, held in told.items() if held.get(position)) for position in positions}


def groups_of(value: Any) -> tuple[Any, ...]:
    """The groups that an input is in: of slices none, one or several, otherwise the one that was given."""
    return value if isinstance(value, tuple) else (value,)


def whole_size(data: Mapping[str, Any]) -> int | None:
    """How many inputs the whole data set has, by what a manifest says of the data; None where they are a fold of it."""
    return None if "fold" in data else int(data["of"])


def in_order(name: str, of: Sequence[Any] | Mapping[int, Any], positions: Sequence[int]) -> list[Any]:
    """The group of the input at each position.

    Raises:
        BadInput: where an input has none, or there are more or fewer groups than inputs; ``name`` is the column's.
    """
    if isinstance(of, Mapping):
        if missing := [position for position in positions if position not in of]:
            raise BadInput(f"{name} has no entry for input {missing[0]} ({len(missing)} such inputs); give every one")
        return [of[position] for position in positions]
    if len(given := list(of)) != len(positions):
        raise BadInput(f"{name} has {len(given):,} entries for {len(positions):,} inputs; give one for each input")
    return given


def _from_csv(path: Path, wanted: Sequence[str]) -> dict[str, dict[int, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        known = list(reader.fieldnames or ())
        if twice := [one for place, one in enumerate(known) if one in known[:place]]:
            raise BadInput(f"{path} has two columns {twice[0]!r}: nobody knows which is meant")
        for one in ("index", *wanted):
            if one not in known:
                raise BadInput(f"{path} has no column {one!r}{nearest(one, known)} known: {', '.join(known)}")
        names = wanted or [name for name in known if name != "index"]
        columns: dict[str, dict[int, str]] = {name: {} for name in names}
        seen: set[int] = set()
        for line in reader:
            text = line["index"] or ""
            if not (text.isascii() and text.isdecimal()):
                raise DataError(f"{path} line {reader.line_num}: index {text!r} is no position; write 0, 1, 2 ..")
            if int(text) in seen:
                raise DataError(f"{path} line {reader.line_num}: index {text} occurs twice; give each input one line")
            seen.add(int(text))
            for name in names:
                columns[name][int(text)] = (line[name] or "").strip()
    return columns


def _from_npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    found, known = arrays_of(path, wanted)
    for name in wanted:
        if name not in found:
            raise BadInput(f"{path} has no array {name!r}{nearest(name, known)} known: {', '.join(known)}")
    return found if wanted else arrays_of(path, known)[0]


_READERS: Final[Mapping[str, Callable[[Path, Sequence[str]], Mapping[str, Any]]]] = {
    ".csv": _from_csv,
    ".npz": _from_npz,
}


def groups_without_inputs(
    of: Sequence[Any] | Mapping[int, Any], index: Sequence[int], classes: int | None = None
) -> list[str]:
    """Known groups without an input here: the sample says nothing about them, and the worst group may be one of them.

    Args:
        of: the group of each input, in order or by position in the data set: then those of all positions are known.
        index: the positions of the inputs.
        classes: how many classes there are, where inputs are grouped by their class.

    Raises:
        BadInput: where a manifest says that there are that many classes and no model has as many.

    >>> groups_without_inputs({0: "cat", 1: "dog", 2: "emu"}, [0, 1]), groups_without_inputs([0, 2], [5, 6], classes=3)
    (['emu'], ['1'])
    """
    if isinstance(of, Mapping):
        known = {str(group) for value in of.values() for group in groups_of(value)}
        there = {str(group) for position in index for group in groups_of(of.get(position))}
    else:
        if classes is not None and not (type(classes) is int and 0 <= classes <= MOST_CLASSES):
            raise BadInput(f"context.num_classes in the manifest is {classes!r:.40}, which is no number of classes")
        known = set(map(str, range(classes or 0)))
        there = {str(group) for value in of for group in groups_of(value)}
    return sorted(group for group in known - there if group not in ("", "None", "nan"))
