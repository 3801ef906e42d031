"""``stress:FILE.json``: edge cases of ``certify stress``, once people have filled in what is expected of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from certify.bounded.arrays import arrays_of
from certify.bounded.files import content_of
from certify.bounded.texts import strictly_from_json
from certify.core.input_box import BoxLike, check_box
from certify.core.stressed import INVALID_INPUT, STRESSED
from certify.data.dataset import Dataset, input_digest
from certify.data.loaders import loader
from certify.errors import BadInput, DataError, one_line

__all__ = ["load_stress"]


@loader("stress:FILE.json")
def load_stress(where: str, input_box: BoxLike = None) -> Dataset:
    """The cases of a record of ``certify stress`` with the labels that people expect.

    Each case has ``expected``: a class from 0 on, or ``"invalid"`` where no class is right, which leaves it out. A case
    that is still empty is refused: a prediction is no label. Inputs are held against their digests.

    Raises:
        BadInput: if there is no such file.
        DataError: for another file, empty or impossible labels, inputs that are not those of the record, or cases of
            which none is left.
    """
    path = Path(where)
    if not path.is_file():
        raise BadInput(f"no file {where!r}; write stress:FILE.json, a record of certify stress")
    try:
        record = strictly_from_json(content_of(path))
        if not isinstance(record, dict) or record.get("format") != STRESSED:
            raise ValueError("it is no record of certify stress")
        cases, classes, file = record["cases"], record["num_classes"], record["inputs"]
        if type(classes) is not int or not isinstance(file, str) or Path(file).name != file:
            raise ValueError("its number of classes or its file of inputs is none")
        labels = {case["row"]: (case["digest"], case["expected"]) for case in cases}
        if len(labels) < len(cases):
            raise ValueError("two of its cases name the same row")
        box = check_box(record["input_box"] if input_box is None else input_box)
        arrays, _ = arrays_of(path.with_name(file), ("x",))
        x = arrays["x"]
        if x.ndim < 2:
            raise ValueError(f"x in its file of inputs has shape {x.shape}, and holds no inputs")
    except (OSError, KeyError, TypeError, ValueError, BadInput) as problem:
        raise DataError(f"{path} cannot be read as edge cases: {one_line(problem)}") from problem
    kept = [row for row, (_, expected) in labels.items() if expected != INVALID_INPUT]
    if empty := [row for row in kept if labels[row][1] is None]:
        raise DataError(
            f"{path}: {len(empty)} of {len(labels)} cases have no expected label, the first in row {empty[0]}: write a "
            f'class, or "{INVALID_INPUT}" where none is right'
        )
    if not kept:
        raise DataError(f"{path} holds no case with an expected label")
    for row in kept:
        _check(path, row, labels[row], x, classes)
    rows = np.array(kept)
    y = np.array([labels[row][1] for row in kept])
    return Dataset(path.name, x[rows], y, classes, box, index=rows)


def _check(path: Path, row: Any, case: tuple[Any, Any], x: np.ndarray[Any, Any], classes: int) -> None:
    digest, expected = case
    if type(row) is not int or not 0 <= row < len(x) or x.dtype != np.float32:
        raise DataError(f"{path}: there is no input in row {row!r:.20} of its file of inputs")
    if input_digest(x[row]) != digest:
        raise DataError(f"{path}: the input in row {row} is another one than that of the record")
    if type(expected) is not int or not 0 <= expected < classes:
        raise DataError(f"{path}: row {row} expects {expected!r:.20}, which is no class from 0 to {classes - 1}")
