"""Certified and attacked accuracy over the radius."""

from __future__ import annotations

from typing import Any

from certify.core.summary import PLOTS, Summary
from certify.errors import MissingExtra

__all__ = ["curves"]


@PLOTS.register("curves")
def curves(summary: Summary, axes: Any = None) -> Any:
    """Draw the certified curve as a line, accuracy under attack at the declared radii as markers; return the Axes.

    Without ``axes`` a new pyplot figure is made, which a notebook shows.

    Raises:
        MissingExtra: without matplotlib.
    """
    if axes is None:
        axes = _new_axes()
    # A step at every proven radius: the exact curve, not a sample of it.
    steps = [0.0, *sorted(radius for radius in set(summary.radii_proven) if radius > 0)]
    certified = [100 * summary.certified_at(radius) for radius in steps]
    axes.step([*steps, steps[-1]], [*certified, 0.0], where="pre", label="certified", color="tab:blue")
    attacked = [(row.radius, 100 * row.empirical) for row in summary.rows if row.empirical is not None]
    if attacked:
        radii, accuracy = zip(*attacked, strict=True)
        # Known at the declared radii; in between it is at most what it was before.
        axes.plot(radii, accuracy, "v--", drawstyle="steps-post", label="no attack succeeded", color="tab:orange")
    logs = sorted((log.radius, 100 * log.empirical_accuracy) for log in summary.reported)
    if logs:
        # On the inputs of the logs, which may be fewer: points, not a curve of this table.
        axes.plot(*zip(*logs, strict=True), "x", label="imported attack logs (their inputs)", color="tab:red")
    axes.axhline(100 * summary.clean, linestyle=":", color="gray", label="clean")
    axes.set_xlabel(f"{summary.threat.measure} radius ({summary.threat.units})")
    axes.set_ylabel(f"accuracy on {summary.n} inputs (%)")
    axes.set_ylim(0, 102)
    axes.set_xlim(left=0)
    axes.legend()
    return axes


def _new_axes() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as absent:
        raise MissingExtra("matplotlib", "plot", "drawing a summary") from absent
    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]
