"""New data beside those of a run: the p-values of the new inputs, and the features that moved."""

from __future__ import annotations

from typing import Any

from certify.core.shown import DRAWINGS
from certify.deployment.samples import DataComparison
from certify.plots.axes import new_axes

__all__ = ["data", "draw_both", "inches"]

SHOWN = 15
"""Features in a figure."""


def inches(found: DataComparison) -> tuple[float, float]:
    """Width and height of a figure for :func:`draw_both`."""
    return (9.0, 3.5) if found.features else (5.0, 3.5)


def draw_both(found: DataComparison, figure: Any) -> None:
    """Draw the inputs, and beside them the features that moved, if any did."""
    axes = figure.subplots(1, 1 + bool(found.features), squeeze=False)[0]
    data(found, axes[0])
    if found.features:
        shown = found.features[:SHOWN]
        axes[1].barh([one.feature for one in shown], [one.distance for one in shown], color="C3")
        axes[1].invert_yaxis()
        axes[1].set_xlim(0, 1)
        axes[1].set_xlabel("distance of the two samples")
        axes[1].set_ylabel("features that moved most")


@DRAWINGS.register("data")
def data(found: DataComparison, axes: Any = None) -> Any:
    """Draw the share of new inputs with a p-value of at most so much: a diagonal where they are alike; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    p_values = sorted(one.p_value for one in found.inputs)
    shares = [(place + 1) / len(p_values) for place in range(len(p_values))]
    axes.plot([0.0, *p_values, 1.0], [0.0, *shares, 1.0], drawstyle="steps-post", color="C0", label="new inputs")
    axes.plot([0, 1], [0, 1], color="tab:gray", linewidth=0.8, label="drawn alike")
    axes.set_xlabel("conformal p-value of an input, at most")
    axes.set_ylabel("share of the new inputs")
    axes.legend(fontsize="small", frameon=False, loc="lower right")
    return axes
