"""How the probabilities of the predicted class under noise are distributed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from certify.core.summary import PLOTS, Summary
from certify.errors import BadInput
from certify.plots.canvas import new_axes

__all__ = ["probabilities"]

EDGES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0)
"""Finer towards 1, where a little probability is much radius."""


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
    counts, _ = np.histogram(p_lower, EDGES)
    names = [f"{low:g} to {high:g}" for low, high in pairwise(EDGES)]
    axes.barh(names, counts, label="inputs", linewidth=0)
    axes.set_ylabel(f"lower bound p_A behind the {summary.threat.measure} radius")
    axes.set_xlabel(f"inputs, of {len(p_lower):,} with a class")
    return axes
