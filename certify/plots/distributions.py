"""How certified radii, and the probabilities behind them, are distributed over the inputs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from certify.core.summary import PLOTS, Summary
from certify.errors import BadInput
from certify.plots.axes import label_radii, new_axes
from certify.summary.distribution import distribution_of_radii

__all__ = ["probabilities", "radii"]

_P_EDGES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0)
"""Borders of the bins of probabilities: finer towards 1, where a little probability is much radius."""


@PLOTS.register("radii")
def radii(summary: Summary, axes: Any = None) -> Any:
    """Draw a histogram of the radii certified around the right class; return the Axes.

    Inputs without one (misclassified, abstained, undecided) are no bar: the label says how many.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    found = distribution_of_radii(summary.sandwich, counted=summary.threat.counted)
    axes.bar(found.edges[:-1], found.counts, width=np.diff(found.edges), align="edge", label="inputs", linewidth=0)
    for place, radius in enumerate(summary.threat.radii):
        label = None if place else "declared radii"
        axes.axvline(radius, color="tab:orange", linestyle="--", linewidth=1, label=label)
    label_radii(axes, summary, "certified")
    axes.set_ylabel(f"inputs, of {found.n + found.without:,} ({found.without:,} without a radius)")
    axes.set_xlim(left=found.edges[0])
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axes


@PLOTS.register("probabilities")
def probabilities(summary: Summary, axes: Any = None) -> Any:
    """Draw a histogram of p_A, the lower confidence bound on the probability of the predicted class; return the Axes.

    Raises:
        BadInput: for proofs, which sample nothing.
        MissingExtra: without matplotlib.
    """
    p_lower = summary.sandwich.p_lower
    p_lower = p_lower[~np.isnan(p_lower)]
    if not len(p_lower):
        raise BadInput("no input has a probability under noise: these certificates are proofs, or abstained everywhere")
    axes = new_axes() if axes is None else axes
    counts, _ = np.histogram(p_lower, _P_EDGES)
    names = [f"{low:g} to {high:g}" for low, high in pairwise(_P_EDGES)]
    axes.barh(names, counts, label="inputs", linewidth=0)
    axes.set_ylabel(f"lower bound p_A behind the {summary.threat.quantity}")
    axes.set_xlabel(f"inputs, of {len(p_lower):,} with a class")
    return axes
