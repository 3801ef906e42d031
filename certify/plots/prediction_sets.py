"""Prediction sets over the radius: their coverage beside that of plain sets, and their sizes."""

from __future__ import annotations

from typing import Any

from certify.core.prediction_sets import SET_PLOTS, PredictionSets
from certify.plots.axes import new_axes

__all__ = ["coverage", "draw_both", "inches", "size"]


def inches(found: PredictionSets) -> tuple[float, float]:
    """Width and height of a figure for :func:`draw_both`."""
    return 6.5, 6.5


def draw_both(found: PredictionSets, figure: Any) -> None:
    """Draw coverage above sizes."""
    above, below = figure.subplots(2, sharex=True)
    coverage(found, above)
    size(found, below)
    above.set_xlabel("")


@SET_PLOTS.register("coverage")
def coverage(found: PredictionSets, axes: Any = None) -> Any:
    """Draw how many sets hold their label under attack, of robust and of plain sets; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    curves = {
        ("covered", "C0", "-"): "unchanged inputs",
        ("attacked", "C0", "o--"): "under attack",
        ("plain_attacked", "C3", "s--"): "plain sets under attack",
        ("plain_proven", "C3", ":"): "plain sets, proven",
    }
    for (name, color, style), label in curves.items():
        points = [(row.radius, getattr(row, name)) for row in found.rows if getattr(row, name) is not None]
        if points:
            radii, shares = zip(*points, strict=True)
            axes.plot(radii, [100 * share for share in shares], style, color=color, label=label)
    axes.axhline(100 * found.coverage, color="tab:gray", linewidth=0.8, label="promised")
    axes.set_ylim(-2, 102)
    axes.set_ylabel("sets that hold the label (%)")
    axes.legend(fontsize="small", frameon=False)
    return _labelled(found, axes)


@SET_PLOTS.register("size")
def size(found: PredictionSets, axes: Any = None) -> Any:
    """Draw the average number of classes in a set; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    axes.plot([row.radius for row in found.rows], [row.size for row in found.rows], "o-", color="C0", label="robust")
    axes.axhline(found.plain.size, color="C3", linestyle="--", label="plain")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("classes in a set, on average")
    axes.legend(fontsize="small", frameon=False)
    return _labelled(found, axes)


def _labelled(found: PredictionSets, axes: Any) -> Any:
    axes.set_xlabel(found.threat.measured)
    return axes
