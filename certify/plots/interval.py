"""The ends of an interval, entry by entry: the scores that a network can return in a region."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from certify.core.shown import DRAWINGS
from certify.plots.canvas import new_axes

__all__ = ["interval"]

LABELLED: Final = 20
"""So many entries are named one by one: classes, as a rule."""


@DRAWINGS.register("interval")
def interval(frame: Any, axes: Any = None) -> Any:
    """Draw a line from ``lower`` to ``upper`` for each line of a data frame; return the Axes.

    An end that is not finite is drawn as far as the others reach: nothing is known there.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    ends = frame[["lower", "upper"]].to_numpy(dtype=np.float64)
    finite = ends[np.isfinite(ends)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    lower, upper = np.clip(ends, low, high).T
    entries = np.arange(len(ends))
    axes.vlines(entries, lower, upper, color="tab:blue", linewidth=2)
    for end in (lower, upper):
        axes.plot(entries, end, "_", color="tab:blue", markersize=10)  # visible where both ends meet
    if len(entries) <= LABELLED:
        axes.set_xticks(entries)
    axes.set_xlabel("entry")
    axes.set_ylabel("between the bounds")
    return axes
