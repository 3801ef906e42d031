"""Tables of robustness that others published: how far each input is robust, as verdicts at radii or as brackets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from certify.core.stated import Bracket, Robustness, Stated
from certify.core.written import radius_of
from certify.errors import BadInput, DataError
from certify.store.log_lines import Fields, whole
from certify.store.tables import Table, column_among, read_table

__all__ = ["EPS", "LOWER", "brackets_by_model", "read_brackets"]

MODEL: Final = ("model", "network")
INDEX: Final = ("index", "image_id", "idx")
LABEL: Final = ("label",)
EPS: Final = ("eps", "epsilon")
VERDICT: Final = ("verdict", "result")
LOWER: Final = ("largest_verified", "lower")
UPPER: Final = ("smallest_falsified", "upper")
"""What each column may be called; the first that a table has counts."""

WORDS: Final[dict[str, Robustness]] = {
    **dict.fromkeys(("robust", "verified", "certified", "unsat", "holds"), "robust"),
    **dict.fromkeys(("not", "not robust", "falsified", "sat", "violated"), "not robust"),
    **dict.fromkeys(("unknown", "timeout", "error"), "unknown"),
}
"""The words of a verdict, in lower case."""


def read_brackets(path: Path | str, only: Mapping[str, str] | None = None) -> list[Bracket]:
    """Read a table of either form, one bracket an input, in the order of the file.

    * Verdicts: columns ``index``, ``eps``, ``verdict`` (robust, not or unknown), a row for each input and radius.
    * Brackets: columns ``index`` (or ``image_id``), ``largest_verified`` and ``smallest_falsified`` (or ``lower`` and
      ``upper``), a row for each input; an end may be empty.

    Both may have a column ``label``. Other columns are read only to choose rows by. Radii are decimals or fractions
    such as 8/255.

    Args:
        path: the file, plain or gzipped.
        only: column and value: rows with another value are left out.

    Raises:
        DataError: naming file and line, for a file without these columns, a cell that is not what it should be, an
            input with two labels, or one that stands twice with the same radius: rows of several networks are mixed.
        BadInput: for rows chosen by a column that is not there, or so that none is left.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "table.csv")
    >>> size = path.write_text("index,eps,verdict\\n3,1/4,robust\\n3,0.5,not\\n")
    >>> [one] = read_brackets(path)
    >>> one.index, one.verified, one.falsified
    (3, 0.25, 0.5)
    """
    table = read_table(path)
    return _read(table, _chosen(table, only or {}), "--only ")


def brackets_by_model(path: Path | str, only: Mapping[str, str] | None = None) -> dict[str, list[Bracket]]:
    """Read a table about several models: as :func:`read_brackets`, with a column ``model`` or ``network`` as well.

    Returns:
        For each model, by the name that the table gives it, one bracket an input.

    Raises:
        DataError, BadInput: as :func:`read_brackets`; for a table without such a column.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "table.csv")
    >>> size = path.write_text("model,index,lower,upper\\na,3,0.25,0.5\\nb,3,,\\n")
    >>> [(name, one.verified) for name, [one] in brackets_by_model(path).items()]
    [('a', 0.25), ('b', None)]
    """
    table = read_table(path)
    if (model := column_among(table.columns, MODEL)) is None:
        raise DataError(
            f"{path} names the columns {', '.join(table.columns)}; brackets of several models have a column model, or "
            "network"
        )
    rows: dict[str, list[Fields]] = {}
    for fields in _chosen(table, only or {}):
        rows.setdefault(fields.texts[model], []).append(fields)
    return {name: _read(table, some) for name, some in rows.items()}


def _read(table: Table, rows: Sequence[Fields], option: str = "") -> list[Bracket]:
    """The brackets in some rows; ``option`` is what chooses rows on the command line, where something does."""
    index, eps, verdict, lower, upper = (
        column_among(table.columns, names) for names in (INDEX, EPS, VERDICT, LOWER, UPPER)
    )
    if index is None or not ((eps and verdict) or (lower and upper)):
        raise DataError(
            f"{table.path} names the columns {', '.join(table.columns):.200}; a table of robustness has index, eps, "
            "verdict, or index, largest_verified, smallest_falsified"
        )
    found: dict[int, list[tuple[Fields, Stated]]] = {}
    labels: dict[int, tuple[int | None, Fields]] = {}
    for fields in rows:
        number = fields.read(index, _position, "a position, a whole number from 0")
        label = _label(fields)
        before, there = labels.setdefault(number, (label, fields))
        known = found.setdefault(number, [])
        by_verdict = eps is not None and verdict is not None
        for one in _verdict(fields, eps, verdict) if eps and verdict else _ends(fields, str(lower), str(upper)):
            if same := [other for other, old in known if _again(old, one, by_verdict)]:
                apart = _apart(same[0], fields, option)
                raise fields.wrong(f"input {number} was there before, line {same[0].line}{apart}")
            known.append((fields, one))
        if before != label:
            apart = _apart(there, fields, option)
            raise fields.wrong(f"input {number} has label {label}, and in line {there.line} {before}{apart}")
    return [
        Bracket(number, labels[number][0], tuple(sorted((one for _, one in rows), key=lambda one: one.eps)))
        for number, rows in found.items()
    ]


def _chosen(table: Table, only: Mapping[str, str]) -> Sequence[Fields]:
    for column in only:
        if column not in table.columns:
            raise BadInput(
                f"{table.path} has no column {column!r} to choose rows by; it has {', '.join(table.columns):.200}"
            )
    rows = [one for one in table.rows if all(one.texts[column] == value for column, value in only.items())]
    if not rows:
        column = next(iter(only))
        there = sorted({one.texts[column] for one in table.rows})
        more = f" and {len(there) - 10} more" if len(there) > 10 else ""
        chosen = ", ".join(f"{column}={value}" for column, value in only.items())
        raise BadInput(
            f"{table.path} has no row with {chosen}; its column {column} holds {', '.join(there[:10]):.200}{more}"
        )
    return rows


def _verdict(fields: Fields, eps: str, verdict: str) -> Iterator[Stated]:
    yield Stated(
        fields.read(eps, _radius, "a radius, a number from 0 such as 0.1 or 8/255"),
        fields.read(verdict, _word, f"a verdict; known: {', '.join(WORDS)}"),
        fields.line,
    )


def _ends(fields: Fields, lower: str, upper: str) -> Iterator[Stated]:
    """The ends of a bracket; one that is empty or NaN, and an upper end that is infinite, state nothing."""
    ends: tuple[tuple[str, Robustness, tuple[str, ...]], ...] = (
        (lower, "robust", ("", "nan")),
        (upper, "not robust", ("", "nan", "inf")),
    )
    for column, verdict, nothing in ends:
        if fields.texts[column].lower() not in nothing:
            eps = fields.read(column, _radius, "a radius, a number from 0 such as 0.1 or 8/255")
            yield Stated(eps, verdict, fields.line)


def _again(old: Stated, new: Stated, by_verdict: bool) -> bool:
    """Whether an input stands in two rows: of brackets it has one, of verdicts one for each radius."""
    return old.line != new.line and (not by_verdict or old.eps == new.eps)


def _apart(one: Fields, other: Fields, option: str) -> str:
    """What to do about two rows that are about one input but differ in a column that says what they are about."""
    read = {*INDEX, *LABEL, *EPS, *VERDICT, *LOWER, *UPPER}
    columns = [name for name in one.texts if name not in read and one.texts[name] != other.texts[name]]
    if not columns:
        return "; give each input once, or once for each radius"
    names = [name for name in columns if not _is_number(one.texts[name])] or columns
    hint = " ".join(f"{option}{name}={one.texts[name]}" for name in names[:2])
    return f", and they differ in {', '.join(columns)}; choose the rows of one network, for example {hint}"


def _label(fields: Fields) -> int | None:
    column = column_among(fields.texts, LABEL)
    if column is None or not fields.texts[column]:
        return None
    return fields.read(column, lambda text: _position(text.removesuffix(".0")), "a class, a whole number from 0")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _position(text: str) -> int:
    value = whole(text)
    if value < 0:
        raise ValueError(text)
    return value


def _radius(text: str) -> float:
    value = radius_of(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _word(text: str) -> Robustness:
    if text.lower() not in WORDS:
        raise ValueError(text)
    return WORDS[text.lower()]
