"""Brackets of critical radii that somebody published, held against ours."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from certify.core.distributions import BesidePublished, Distributions, Refuted
from certify.core.run import Run
from certify.errors import BadInput, DataError
from certify.registry import nearest
from certify.summary.distribution import critical_radii

__all__ = ["PublishedBracket", "beside_published", "read_published"]

_COLUMNS: Final = ("model", "index", "lower", "upper")


@dataclass(frozen=True, slots=True)
class PublishedBracket:
    """What was published about one input of one model; the ends may contradict each other.

    Args:
        label: its class; None where the file does not say.
        lower: largest radius called verified, 0 for none.
        upper: smallest distance called an adversarial example, infinite for none.
    """

    label: int | None
    lower: float
    upper: float


def read_published(file: Path) -> dict[str, dict[int, PublishedBracket]]:
    """Read a CSV file with the columns ``model``, ``index``, ``lower``, ``upper`` and, if known, ``label``.

    Args:
        file: ``index`` is the position in the data set; an empty ``lower`` stands for 0, an empty ``upper`` for
            infinity; other columns are not read.

    Returns:
        For each model the brackets by position.

    Raises:
        BadInput: for a file that cannot be read, or a missing column.
        DataError: naming the line that cannot be right.
    """
    found: dict[str, dict[int, PublishedBracket]] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            known = list(reader.fieldnames or ())
            for wanted in _COLUMNS:
                if wanted not in known:
                    raise BadInput(
                        f"{file} has no column {wanted!r}{nearest(wanted, known)} known: {', '.join(known) or 'none'}"
                    )
            for line in reader:
                where = f"{file} line {reader.line_num}"
                index, bracket = _bracket(line, where)
                if found.setdefault(line["model"] or "", {}).setdefault(index, bracket) is not bracket:
                    raise DataError(f"{where}: index {index} of {line['model']} occurs twice; give each input one line")
    except (OSError, UnicodeError, csv.Error) as problem:
        raise BadInput(f"cannot read {file} ({problem}); name a CSV file of published brackets") from problem
    if not found:
        raise BadInput(f"{file} has no line below its header; name a file of published brackets")
    return found


def _bracket(line: Mapping[str, str | None], where: str) -> tuple[int, PublishedBracket]:
    index, label = line["index"] or "", line.get("label") or ""
    for name, text in (("index", index), ("label", label or "0")):
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise DataError(f"{where}: {name} {text[:40]!r} is no whole number; write 0, 1, 2 ..")
    lower, upper = (
        _number(line[name] or none, f"{where}: {name}") for name, none in (("lower", "0"), ("upper", "inf"))
    )
    if not (0 <= lower < math.inf and upper >= 0):  # NaN is neither
        raise DataError(f"{where}: {lower:g} and {upper:g} are no distances")
    return int(index), PublishedBracket(int(label) if label else None, lower, upper)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{what} {text[:40]!r} is no number") from None


def beside_published(ours: Distributions, file: Path) -> Distributions:
    """The same with published brackets held against the runs that the file names, by name or by model.

    Raises:
        BadInput, DataError: as :func:`read_published`; where no run is named, or an input has another label.
    """
    published = read_published(file)
    compared = tuple(
        _compared(run, model, published[model]) for run in ours.runs for model in _models(run, published, file)
    )
    if not compared:
        theirs, named = ", ".join(list(published)[:10]), ", ".join(run.name for run in ours.runs)
        raise BadInput(f"{file} is about {theirs[:400]}, none of which is a run or a model here ({named})")
    return replace(ours, published=compared)


def _models(run: Run, published: Mapping[str, object], file: Path) -> Sequence[str]:
    """The name in the file that stands for a run: its own name or that of its model, with ``.onnx`` or without."""
    model = run.settings.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    ours = {text.removesuffix(".onnx") for text in (run.name, name) if isinstance(text, str)}
    found = [one for one in published if one.removesuffix(".onnx") in ours]
    if len(found) > 1:
        raise BadInput(f"{file} has several models for {run.name}: {', '.join(found)}; leave one of them")
    return found


def _compared(run: Run, model: str, published: Mapping[int, PublishedBracket]) -> BesidePublished:
    sandwich, radii = run.summary.sandwich, critical_radii(run.summary.sandwich)
    rows = [row for row, index in enumerate(sandwich.index.tolist()) if index in published]
    theirs = [published[int(sandwich.index[row])] for row in rows]
    for row, one in zip(rows, theirs, strict=True):
        if one.label is not None and one.label != sandwich.label[row]:
            raise BadInput(
                f"input {sandwich.index[row]} of {run.name} has label {sandwich.label[row]}, and {one.label} in the "
                "published brackets: they number other inputs"
            )
    lower, upper = radii.lower[rows], radii.upper[rows]
    below, above = np.array([one.lower for one in theirs]), np.array([one.upper for one in theirs])
    overlap = (lower <= above) & (below <= upper) & (below <= above)
    return BesidePublished(
        run=run.name,
        model=model,
        n=len(rows),
        overlap=int(overlap.sum()),
        lower_confirmed=int(np.count_nonzero((lower >= below) & (below > 0))),
        upper_confirmed=int(np.count_nonzero((upper <= above) & np.isfinite(above))),
        tightened=int(np.count_nonzero(overlap & ((lower > below) | (upper < above)))),
        crossed=tuple(sandwich.index[rows][below > above].tolist()),
        refuted=tuple(_refuted(sandwich.index[rows].tolist(), lower, upper, theirs)),
    )


def _refuted(
    index: Sequence[int], lower: np.ndarray, upper: np.ndarray, theirs: Sequence[PublishedBracket]
) -> Iterator[Refuted]:
    for position, proven, broken, one in zip(index, lower.tolist(), upper.tolist(), theirs, strict=True):
        if one.lower > broken:
            yield Refuted(position, "lower", one.lower, broken)
        if one.upper < proven:
            yield Refuted(position, "upper", one.upper, proven)
