"""Clean accuracy near chance: the first thing to know about a run, and seldom what was meant."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from certify.lazy import later
from certify.models.classifier import Classifier

__all__ = ["near_chance"]

special = later("scipy.special")

SAMPLE, TOGETHER = 256, 32
"""Inputs that are classified to find out, and how many of them at a time."""

ABOVE: Final = 0.1
"""Of the way from chance to certainty: less is near chance."""

BAD_LUCK: Final = 0.01
"""How probable so few hits may be for a model half-way from chance to certainty: two inputs say nothing."""


def near_chance(classifier: Classifier, x: NDArray[np.float32], y: NDArray[np.int64]) -> str | None:
    """A warning, in one line, if a classifier does little better on labelled inputs than guessing; None otherwise.

    Args:
        classifier: the base model; of a smoothed one, too.
        x, y: inputs (n, ...) and labels (n,). Some, spread evenly, are classified.

    >>> x, y = np.random.default_rng(0).uniform(0, 1, (50, 2)), np.arange(50) % 2
    >>> near_chance(Classifier(lambda x: torch.zeros(len(x)), num_classes=2), x, y)[:56]
    'clean accuracy is near chance (25 of 50 inputs right, 2 '
    """
    rows = np.unique(np.linspace(0, len(x) - 1, min(SAMPLE, len(x))).astype(int))  # many data sets are sorted by class
    try:
        right = sum(
            _right(classifier, x[part], y[part]) for part in np.split(rows, range(TOGETHER, len(rows), TOGETHER))
        )
    except Exception:  # a model may fail on some input; the records of the run will say on which, and how
        return None
    chance = 1 / classifier.num_classes
    if right > (chance + ABOVE * (1 - chance)) * len(rows):
        return None
    if special.bdtr(right, len(rows), (1 + chance) / 2) > BAD_LUCK:
        return None
    expects = "normalized inputs (give mean and std)" if classifier.normalization is None else "another mean and std"
    return (
        f"clean accuracy is near chance ({right} of {len(rows)} inputs right, {classifier.num_classes} classes): does "
        f"the model expect {expects}, do its classes stand in another order or number than the labels, or are these "
        "other weights, or inputs in other units, than it was trained with?"
    )


def _right(classifier: Classifier, x: NDArray[np.float32], y: NDArray[np.int64]) -> int:
    return int((classifier.predict(torch.from_numpy(np.asarray(x, np.float32))).cpu().numpy() == y).sum())
