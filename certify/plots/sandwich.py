"""Every input between its proof and its adversarial example."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.summary import PLOTS, Summary
from certify.plots.axes import label_radii, new_axes

__all__ = ["sandwich"]

_CELLS: Final = 40
"""Cells along each side of the plot: the inputs in one cell share a marker, so that a million of them can be drawn."""

_SMALLEST: Final = 14
"""Area in square points of a marker that stands for one input."""


@PLOTS.register("sandwich")
def sandwich(summary: Summary, axes: Any = None) -> Any:
    """Draw the distance of the nearest adversarial example over the certified radius; return the Axes.

    Inputs that are predicted correctly, one marker for those that lie close together, larger for more of them. The
    true radius of each lies between its two coordinates. Below the diagonal, proof and example contradict each other.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    layers = summary.sandwich
    proven, broken = np.nan_to_num(layers.certified[layers.correct], nan=0.0), layers.attacked[layers.correct]
    ends = [summary.threat.largest, proven.max(initial=0.0), np.nan_to_num(broken).max(initial=0.0)]
    top = 1.08 * max(ends) or 1.0
    none, against = np.isnan(broken), broken <= np.where(np.isnan(layers.certified[layers.correct]), -1.0, proven)
    axes.plot([0, top], [0, top], color="tab:gray", linestyle=":", label="proof and example meet")
    both = ~none & ~against
    _marks(axes, proven[both], broken[both], top, marker="o", color="tab:blue", label="broken at that distance")
    _marks(
        axes, proven[none], np.full(none.sum(), top), top, marker="^", color="tab:gray", label="not broken: no distance"
    )
    _marks(axes, proven[against], broken[against], top, marker="X", color="tab:red", label="CONTRADICTION")
    label_radii(axes, summary, "certified")
    axes.set_ylabel("distance of the nearest adversarial example")
    axes.set_xlim(-0.02 * top, 1.04 * top)
    axes.set_ylim(-0.02 * top, 1.04 * top)
    for handle in axes.legend(loc="lower right").legend_handles[1:]:
        handle.set_sizes([_SMALLEST])
    return axes


def _marks(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], top: float, **style: Any) -> None:
    """Draw one marker for each cell, at its first input, with up to eight times the area where the cell holds more."""
    if not len(x):
        return
    cells = np.floor(np.stack([x, y]) * (_CELLS / top))
    _, first, count = np.unique(cells, axis=1, return_index=True, return_counts=True)
    areas = _SMALLEST * np.minimum(8, 2.0 ** np.floor(np.log2(count) / 2))
    axes.scatter(x[first], y[first], s=areas, linewidths=0, alpha=0.75, **style)
