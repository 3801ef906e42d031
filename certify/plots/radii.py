"""How the certified radii are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.summary import PLOTS, Summary
from certify.plots.canvas import new_axes, radius_label
from certify.summary.distribution import distribution_of_radii

__all__ = ["radii"]


@PLOTS.register("radii")
def radii(summary: Summary, axes: Any = None) -> Any:
    """Draw a histogram of the radii certified around the right class; return the Axes.

    Inputs without one (misclassified, abstained, undecided) are no bar: the label says how many.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    found = distribution_of_radii(summary.sandwich)
    axes.bar(found.edges[:-1], found.counts, width=np.diff(found.edges), align="edge", label="inputs", linewidth=0)
    for place, radius in enumerate(summary.threat.radii):
        label = None if place else "declared radii"
        axes.axvline(radius, color="tab:orange", linestyle="--", linewidth=1, label=label)
    axes.set_xlabel(radius_label(summary, "certified"))
    axes.set_ylabel(f"inputs, of {found.n + found.without:,} ({found.without:,} without a radius)")
    axes.set_xlim(left=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axes
