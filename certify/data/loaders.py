"""What a data SPEC on the command line means, and the registry of the forms it may have."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import BoxLike
from certify.data.dataset import Dataset, seeded_generator
from certify.data.named import NAMED_FORM, load_named
from certify.errors import BadInput
from certify.named import is_named
from certify.registry import Registry, nearest

__all__ = ["LOADERS", "Loader", "is_train", "load_data", "loader", "split"]


@dataclass(frozen=True, slots=True)
class Loader:
    """One form of data SPEC: how it is written, and the function that reads what follows the first colon."""

    form: str
    load: Callable[..., Dataset]


LOADERS: Registry[Loader] = Registry("data set", package="certify.data")


def loader(form: str) -> Callable[[Callable[..., Dataset]], Callable[..., Dataset]]:
    """Register a loader under the first word of ``form``, for example ``"idx:FOLDER[:train]"`` under ``idx``.

    The loader receives the text after the first colon, empty if there is none, and returns a data set with inputs in
    their raw units; it never runs code from the files it reads. One that takes bounds for granted has an argument
    ``input_box``, and one whose labels may be numbers of a regression ``regression``, as in :func:`load_data`.
    """

    def add(load: Callable[..., Dataset]) -> Callable[..., Dataset]:
        LOADERS.register(re.split(r"\W", form)[0])(Loader(form, load))
        return load

    return add


def load_data(spec: str, input_box: BoxLike = None, regression: bool = False) -> Dataset:
    """Load the data set that ``spec`` names.

    A known first word (``digits``, ``npz``, ...) always means the built-in loader; any other
    ``package.module:function`` is a Python function of yours that returns a :class:`Dataset` or a pair (x, y).

    Args:
        spec: what to load.
        input_box: bounds of every feature, in place of those that the data state; None for theirs.
        regression: whether files hold the true values of a regression where others have labels.

    Raises:
        BadInput: for an unknown form of SPEC, or one whose file or function does not exist.
        DataError: for files that are corrupt, and data outside their input box.
        MissingExtra: if an optional library reads this form and is not installed.

    >>> load_data("digits").x.shape, load_data("digits:train").x.shape
    ((500, 1, 8, 8), (1297, 1, 8, 8))
    """
    word, _, rest = spec.partition(":")
    if word in LOADERS or is_named(spec):
        load, where = (LOADERS[word].load, rest) if word in LOADERS else (load_named, spec)
        asked = {"input_box": input_box, "regression": regression}
        dataset = load(where, **{name: asked[name] for name in asked if name in inspect.signature(load).parameters})
        return dataset if input_box is None else replace(dataset, input_box=input_box)
    forms = ", ".join([*(member.form for member in LOADERS.values()), NAMED_FORM])
    raise BadInput(f"unknown data {spec!r}{nearest(word, list(LOADERS))} data is one of: {forms}")


def is_train(name: str, part: str) -> bool:
    """Whether ``part``, the text after ``name:``, asks for the training part; the empty text asks for the test part."""
    if part not in ("", "train"):
        raise BadInput(f"{name} has no part {part!r}; write {name} for its test images or {name}:train for the others")
    return part == "train"


def split(name: str, x: NDArray[np.float32], y: NDArray[np.int64], train: bool, test_size: int) -> Dataset:
    """The fixed test or training part of a ten-class data set that is published without a split.

    The test part is the first ``test_size`` of a permutation seeded by the data set's name, in ascending position;
    the training part is all the rest.
    """
    order = seeded_generator(name, "split").permutation(len(x))
    rows = np.sort(order[test_size:] if train else order[:test_size])
    return Dataset(f"{name} {'train' if train else 'test'}", x[rows], y[rows], num_classes=10)
