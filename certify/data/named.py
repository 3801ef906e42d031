"""``package.module:function``: data from a Python function of the user's."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.input_box import BoxLike
from certify.data.dataset import Dataset, from_arrays
from certify.data.given import arrays_of
from certify.data.labels import true_values
from certify.errors import BadInput, DataError, one_line
from certify.named import call_named

__all__ = ["NAMED_FORM", "load_named"]

NAMED_FORM = "package.module:function"


def load_named(spec: str, input_box: BoxLike = None, regression: bool = False) -> Dataset:
    """Call the function that ``spec`` names; it returns a :class:`Dataset`, or what
    :func:`~certify.data.given.arrays_of` reads, such as a pair (x, y), with inputs in [0, 1] where no box is given.

    Raises:
        BadInput: if there is no such function.
        DataError: if it raised, or returned anything else.
    """
    made = call_named(spec, DataError)
    if isinstance(made, Dataset):
        return made
    try:
        x, y = (_array(spec, values) for values in arrays_of(made, regression))
    except BadInput as problem:
        raise DataError(f"{spec}: {problem}") from problem
    return from_arrays(spec, x, true_values(spec, y) if regression else y, input_box=input_box or (0.0, 1.0))


def _array(spec: str, values: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{spec} returned something that is no array: {one_line(problem)}") from problem
