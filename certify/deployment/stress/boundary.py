"""Where answers change along a path from an input: looked for on a grid, and again between two of its points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from certify.models.classifier import Classifier

__all__ = ["Crossing", "first_crossing"]

POINTS: Final = 16
"""Points of a path that are answered together, whatever else is searched: answers depend on one path alone."""

ROUNDS: Final = 3
"""How often the part between two points is divided again: the crossing is known to one part in 4,096."""


class Crossing(NamedTuple):
    """The last point of a path with the answer that its beginning has.

    Args:
        at: how far along the path, from 0 to 1.
        x: the point (...).
    """

    at: float
    x: Tensor


def first_crossing(classifier: Classifier, path: Callable[[Tensor], Tensor], answer: int) -> Crossing | None:
    """The first change of the answer along a path that a grid of points sees; None where it sees none.

    Args:
        classifier: who answers.
        path: from shares (m,) of the way to points (m, ...).
        answer: at the beginning.
    """
    low, high, last, seen = 0.0, 1.0, path(torch.zeros(1))[0], False
    for _ in range(ROUNDS):
        shares = low + (high - low) * torch.arange(1, POINTS + 1, dtype=torch.float64) / POINTS
        points = path(shares.float())
        changed = (classifier.predict(points).cpu() != answer).nonzero().flatten().tolist()
        if not changed:
            # Further rounds divide a part whose end was seen to differ: rounding may hide that, and nothing is lost.
            break
        first, seen = changed[0], True
        if first:
            last = points[first - 1]
        low, high = (float(shares[first - 1]) if first else low), float(shares[first])
    return Crossing(low, last) if seen else None
