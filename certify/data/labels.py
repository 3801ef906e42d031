"""Labels as people keep them: whole numbers from 0, or names of classes; and the true values of a regression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify.errors import DataError, one_line

__all__ = ["column_of", "labels_of", "true_values"]

COLUMN = "label"
"""What a column of labels is called if nobody says otherwise."""


def labels_of(name: str, written: Iterable[str]) -> tuple[NDArray[np.int64], int | None]:
    """Labels (n,) from their texts, and the number of classes if those have names.

    Names are numbered from 0 in their alphabetical order, as subfolders of images are. Numbers stay as they are.

    Raises:
        DataError: for an empty text, or numbers that are not whole; ``name`` is what the message calls the data.

    >>> labels_of("iris", ["virginica", "setosa", "virginica"])
    (array([1, 0, 1]), 2)
    >>> labels_of("digits", ["7", "3.0"])
    (array([7, 3]), None)
    """
    texts = [text.strip() for text in written]
    if "" in texts:
        raise DataError(f"{name}: input {texts.index('')} has no label; leave it out, or label it")
    known = {text: _number(text) for text in texts}
    if all(number is None for number in known.values()):
        order = {text: place for place, text in enumerate(sorted(known))}
        return np.array([order[text] for text in texts], np.int64), max(2, len(order))
    for text, number in known.items():
        if number is None or not number.is_integer() or abs(number) >= 2**31:
            raise DataError(
                f"{name}: labels must be whole numbers from 0, or all of them names, but one is {text!r}; "
                "the true values of a regression go with the property within"
            )
    return np.array([int(known[text] or 0) for text in texts], np.int64), None


def true_values(name: str, written: ArrayLike) -> NDArray[np.float64]:
    """The true values (n,) of a regression, from numbers or their texts.

    Raises:
        DataError: for one that is no finite number; ``name`` is what the message calls the data.

    >>> true_values("diabetes", ["151", " 75.5"])
    array([151. ,  75.5])
    """
    given = np.asarray(written)
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{name}: the true values of a regression must be numbers ({one_line(problem)})") from problem


def column_of(name: str, columns: Sequence[str], asked: str | None, what: str = "labels") -> int:
    """The place of the column that holds the labels, or what else is asked for by name.

    Raises:
        DataError: if there is none of that name, or there are several.
    """
    wanted = COLUMN if asked is None else asked
    places = [place for place, column in enumerate(columns) if column == wanted]
    if len(places) != 1:
        listed = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        said = f"has {len(places)} columns {wanted!r}" if places else f"has no column {wanted!r} of {what}"
        raise DataError(f"{name} {said}; name the right one of: {listed}")
    return places[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
