"""Certified and attacked accuracy over the radius."""

from __future__ import annotations

from typing import Any, Final

from certify.core.rounding import percent_down
from certify.core.summary import PLOTS, Summary
from certify.plots.canvas import new_axes, radius_label
from certify.summary.curves import Curve, curve

__all__ = ["certified", "curves"]

POINTS: Final = 240
"""Steps of a drawn curve: more cannot be told apart, and a million would fill a page."""


@PLOTS.register("certified")
def certified(summary: Summary, axes: Any = None) -> Any:
    """Draw the certified curve alone, with its band, in the next colour of the axes; return the Axes.

    The band reaches down to the fraction that is *truly* robust with the confidence of the statement, at all radii at
    once. Proofs have none.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    _certified(summary, curve(summary, _points(summary)), axes)
    return axes


@PLOTS.register("curves")
def curves(summary: Summary, axes: Any = None) -> Any:
    """Draw certified accuracy and accuracy under attack, each with the band of what is true; return the Axes.

    Without ``axes`` a new pyplot figure is made, which a notebook shows.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    found = curve(summary, _points(summary))
    _certified(summary, found, axes)
    stated = [(row.radius, 100 * row.population_lower) for row in summary.rows if row.population_lower is not None]
    if stated:
        # Robust at a radius is robust at every smaller one, so between two radii the bound of the larger one holds.
        axes.plot(
            *zip(*stated, strict=True), "^:", drawstyle="steps-pre", color="tab:green", label="population, at least"
        )
    if found.empirical is not None:
        style = {"drawstyle": "steps-post", "linestyle": "--", "color": "tab:orange"}
        axes.plot(found.radius, 100 * found.empirical, label="no attack succeeded", **style)
        if found.empirical_upper is not None:
            band = {"step": "post", "color": "tab:orange", "alpha": 0.25, "linewidth": 0}
            axes.fill_between(found.radius, 100 * found.empirical, 100 * found.empirical_upper, **band)
    logs = sorted((log.radius, 100 * log.empirical_accuracy) for log in summary.reported)
    if logs:
        # On the inputs of the logs, which may be fewer: points, not a curve of this table.
        axes.plot(*zip(*logs, strict=True), "x", label="imported attack logs (their inputs)", color="tab:red")
    axes.axhline(100 * summary.clean, linestyle=":", color="tab:gray", label="clean")
    axes.legend(loc="lower left")
    return axes


def _certified(summary: Summary, found: Curve, axes: Any) -> None:
    [line] = axes.plot(found.radius, 100 * found.certified, drawstyle="steps-pre", label="certified")
    if summary.guarantee.alpha is not None:
        sure = percent_down(found.confidence).removesuffix(".0")
        style = {"step": "pre", "color": line.get_color(), "alpha": 0.25, "linewidth": 0}
        label = f"truly robust, {sure} % sure"
        axes.fill_between(found.radius, 100 * found.certified_lower, 100 * found.certified, label=label, **style)
    axes.set_xlabel(radius_label(summary))
    axes.set_ylabel(f"accuracy on {summary.n:,} inputs (%)")
    axes.set_ylim(0, 104)
    axes.set_xlim(left=0)


def _points(summary: Summary) -> int:
    """Every declared radius is kept, however many there are."""
    return max(POINTS, len(summary.rows) + 2)
