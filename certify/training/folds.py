"""Folds of a data set for cross-validation: each input is in one, at random, the same for everybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from certify.data.dataset import Dataset, seeded_generator
from certify.errors import BadInput

__all__ = ["check_folds", "fold_of", "in_fold", "rows_of"]


def check_folds(folds: int) -> None:
    """Refuse numbers of folds that cannot be.

    Raises:
        BadInput: for fewer than two.
    """
    if folds < 2:
        raise BadInput(f"folds must be a whole number of at least 2, got {folds}; 5 and 10 are usual")


def in_fold(data: Dataset, fold: int, folds: int) -> NDArray[np.bool_]:
    """Which inputs (n,) are in a fold; the folds differ by at most one input in size.

    Raises:
        BadInput: for fewer inputs than folds, or a fold that is none of them.

    >>> data = Dataset("four points", np.zeros((4, 1)), np.array([0, 1, 0, 1]), num_classes=2)
    >>> sum(in_fold(data, fold, 2) for fold in range(2))
    array([1, 1, 1, 1])
    """
    check_folds(folds)
    if not 0 <= fold < folds:
        raise BadInput(f"fold {fold} of {folds} cannot be: folds are counted from 0")
    if len(data) < folds:
        raise BadInput(f"{len(data)} inputs cannot be in {folds} folds: ask for fewer folds")
    order = seeded_generator("folds", folds, data.digest).permutation(len(data))
    chosen = np.zeros(len(data), dtype=bool)
    chosen[order[fold::folds]] = True
    return chosen


def rows_of(data: Dataset, chosen: NDArray[np.bool_]) -> Dataset:
    """The chosen inputs of a data set, which keep their positions in it."""
    return data.rows(chosen)


def fold_of(data: Dataset, fold: int, folds: int) -> Dataset:
    """The inputs of one fold, which know that they are: a model that was trained on all others is certified on these.

    Raises:
        BadInput: as :func:`in_fold`.
    """
    part = rows_of(data, in_fold(data, fold, folds))
    object.__setattr__(part, "fold", (fold, folds))
    return part
