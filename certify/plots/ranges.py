"""Ranges beside each other: groups down to their lower bounds, and a network's outputs between their bounds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from certify.core.groups import Groups
from certify.core.shown import DRAWINGS
from certify.plots.axes import new_axes

__all__ = ["groups", "interval"]

_LABELLED: Final = 20
"""Up to this many outputs have a tick each on the axis: classes, as a rule."""


@DRAWINGS.register("groups")
def groups(table: Groups, axes: Any = None) -> Any:
    """Draw a dot for each group and radius, and a line down to its lower bound where it has one; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    step = 0.6 / len(table.radii)
    for place, radius in enumerate(table.radii):
        at = [row + step * (place - (len(table.radii) - 1) / 2) for row in range(len(table.rows))]
        certified = [100 * row.certified[place] for row in table.rows]
        dots = axes.plot(at, certified, "o", markersize=4, label=table.threat.amount(radius))
        bounded = [
            (x, 100 * lower, share)
            for x, share, row in zip(at, certified, table.rows, strict=True)
            if (lower := row.lower[place]) is not None
        ]
        if bounded:
            axes.vlines(*zip(*bounded, strict=True), color=dots[0].get_color(), linewidth=1)
    axes.set_xticks(range(len(table.rows)), [f"{row.group}\nn={row.n:,}" for row in table.rows])
    axes.set_xlabel(table.name)
    axes.set_ylabel("certified (%)")
    axes.set_ylim(0, 102)
    axes.legend(ncols=len(table.radii), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return axes


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
    if len(entries) <= _LABELLED:
        axes.set_xticks(entries)
    axes.set_xlabel("entry")
    axes.set_ylabel("between the bounds")
    return axes
