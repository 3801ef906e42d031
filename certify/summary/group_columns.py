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

__all__ = ["group_column", "groups_without_inputs", "in_order", "whole_size"]

MOST_CLASSES: Final = 2**24
"""More than any model has; each of them gets a name."""

_FORMS: Final = "label, FILE.csv:COLUMN or FILE.npz:ARRAY"


def group_column(
    spec: str, sandwich: Sandwich, size: int | None = None
) -> tuple[str, Sequence[Any] | Mapping[int, Any]]:
    """What inputs are grouped by, and the group of each: in order, or by position in the data set.

    Args:
        spec: ``label`` for the true class; ``FILE.csv:COLUMN``, of a file with a column ``index`` that holds positions;
            ``FILE.npz:ARRAY``, with one entry for each input of the whole data set.
        sandwich: the inputs.
        size: how many inputs the whole data set has, where that is known.

    Raises:
        BadInput: for another form, no such file or column, or an array of another length than the data set.
        DataError: for a file that cannot be read, or positions that repeat.
    """
    if spec == "label":
        return "label", sandwich.label.tolist()
    file, _, column = spec.rpartition(":")
    path = Path(file)
    readers: dict[str, Callable[[Path, str], dict[int, str] | np.ndarray[Any, Any]]] = {
        ".csv": _from_csv,
        ".npz": _from_npz,
    }
    if not (column and path.suffix in readers):
        raise BadInput(f"unknown group {spec!r}{nearest(spec, ['label'])} groups are one of: {_FORMS}")
    if not path.is_file():
        raise BadInput(f"no file {file!r}; groups are one of: {_FORMS}")
    try:
        read = readers[path.suffix](path, column)
    except (OSError, csv.Error, ValueError) as problem:
        raise DataError(f"{path} cannot be read: {one_line(problem)}") from problem
    if not isinstance(read, np.ndarray):
        return column, read
    largest = int(sandwich.index.max())
    if read.ndim != 1 or len(read) <= largest or (size is not None and largest < size != len(read)):
        wanted = f"the {size:,} inputs" if size is not None and largest < size else f"inputs 0 to {largest:,} at least"
        raise BadInput(f"{spec} has shape {read.shape}; it needs one entry for each of {wanted} of the data set")
    return column, dict(enumerate(read.tolist()))


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


def _from_csv(path: Path, column: str) -> dict[int, str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        known = list(reader.fieldnames or ())
        for wanted in ("index", column):
            if wanted not in known:
                raise BadInput(f"{path} has no column {wanted!r}{nearest(wanted, known)} known: {', '.join(known)}")
        groups: dict[int, str] = {}
        for line in reader:
            text = line["index"] or ""
            if not (text.isascii() and text.isdecimal()):
                raise DataError(f"{path} line {reader.line_num}: index {text!r} is no position; write 0, 1, 2 ..")
            if int(text) in groups:
                raise DataError(f"{path} line {reader.line_num}: index {text} occurs twice; give each input one line")
            groups[int(text)] = (line[column] or "").strip()
    return groups


def _from_npz(path: Path, name: str) -> np.ndarray[Any, Any]:
    found, known = arrays_of(path, [name])
    if name not in found:
        raise BadInput(f"{path} has no array {name!r}{nearest(name, known)} known: {', '.join(known)}")
    return found[name]


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
        known, there = set(map(str, of.values())), {str(of.get(position)) for position in index}
    else:
        if classes is not None and not (type(classes) is int and 0 <= classes <= MOST_CLASSES):
            raise BadInput(f"context.num_classes in the manifest is {classes!r:.40}, which is no number of classes")
        known, there = set(map(str, range(classes or 0))), set(map(str, of))
    return sorted(group for group in known - there if group not in ("", "None", "nan"))
