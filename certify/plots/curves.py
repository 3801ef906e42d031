"""Certified and attacked accuracy over the radius. Colour tells runs apart, style tells what a line is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from certify.core.run import Run
from certify.core.shown import DRAWINGS
from certify.core.summary import PLOTS, Summary
from certify.plots.axes import (
    MARKERS,
    certified_lines,
    key,
    label_radii,
    legend_of_curves,
    legend_of_runs,
    new_axes,
)
from certify.summary.curves import POINTS, Curve, curve
from certify.summary.envelope import Envelope
from certify.summary.words import percent

__all__ = ["certified", "curves", "envelope", "runs"]

_POINTS_PER_MARKER: Final = 24
"""Points of an attacked curve from one of its markers to the next."""

_WIDEST, _FINEST, _ALONE = 2.8, 1.2, 1.5
"""Line widths in points. The first of several is the widest, so that one which runs below others can be seen."""


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

    Without ``axes`` a new pyplot figure is made, which a notebook shows. On axes that hold such curves already, these
    take the next colour, and the legend names each style once.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    found = curve(summary, _points(summary))
    color = _certified(summary, found, axes).get_color()
    _attacked(summary, found, axes, color)
    stated = [(row.radius, 100 * row.population_lower) for row in summary.rows if row.population_lower is not None]
    if stated:
        # Robust at a radius is robust at every smaller one, so between two radii the bound of the larger one holds.
        style = {"drawstyle": "steps-pre", "color": color, "linewidth": 1}
        axes.plot(*zip(*stated, strict=True), "^:", label=key(axes, "population, at least"), **style)
    logs = sorted((log.radius, 100 * log.empirical_accuracy) for log in summary.reported)
    if logs:
        # On the inputs of the logs, which may be fewer: points, not a curve of this table.
        label = key(axes, "imported attack logs (their inputs)")
        axes.plot(*zip(*logs, strict=True), "x", label=label, color=color)
    axes.axhline(100 * summary.clean, linestyle="-.", linewidth=1, color=color, label=key(axes, "clean"))
    legend_of_curves(axes)
    return axes


@DRAWINGS.register("runs")
def runs(named: Sequence[Run], axes: Any = None) -> Any:
    """Draw what several runs certify and what attacks leave of it, each in a colour of its own; return the Axes.

    The legend has a line for each run, by name, then one for each style.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    lines = []
    for place, (run, width) in enumerate(zip(named, np.linspace(_WIDEST, _FINEST, len(named)), strict=True)):
        found = curve(run.summary, _points(run.summary))
        lines.append(_certified(run.summary, found, axes, float(width)))
        attacked = _attacked(run.summary, found, axes, lines[-1].get_color(), float(width))
        if attacked is not None:
            # Runs of one model may be attacked alike: where lines lie on each other, every marker is still seen.
            attacked.set(
                marker=MARKERS[place % len(MARKERS)],
                markersize=4,
                markevery=(3 * place % _POINTS_PER_MARKER, _POINTS_PER_MARKER),
            )
    legend_of_runs(axes, lines, [run.name for run in named])
    return axes


@DRAWINGS.register("envelope")
def envelope(best: Envelope, axes: Any = None) -> Any:
    """Draw the best certified accuracy of several runs at each radius; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    radii, shares = zip(*best.curve, strict=True)
    label = f"best of {len(best.runs)} runs at each radius (selected on the test set)"
    axes.plot(radii, [100 * share for share in shares], drawstyle="steps-pre", color="black", linewidth=1, label=label)
    axes.set_xlabel(f"{best.norm} radius ({best.units})")
    axes.set_ylabel(f"certified accuracy on {best.n:,} inputs (%)")
    axes.set_ylim(0, 104)
    axes.legend(loc="lower left")
    return axes


def _certified(summary: Summary, found: Curve, axes: Any, width: float = _ALONE) -> Any:
    """The line, in the next colour of the axes."""
    _label(summary, axes)
    style = {"drawstyle": "steps-pre", "linewidth": width}
    [line] = axes.plot(found.radius, 100 * found.certified, label="certified", **style)
    line.sticky_edges.x.append(0.0)  # no margin to the left of radius 0, however far later curves reach
    if summary.guarantee.alpha is not None:
        style = {"step": "pre", "color": line.get_color(), "alpha": 0.3, "linewidth": 0}
        label = key(axes, f"truly robust, at least{_sure(summary, found)}")
        axes.fill_between(found.radius, 100 * found.certified_lower, 100 * found.certified, label=label, **style)
    axes.set_ylim(0, 104)
    return line


def _label(summary: Summary, axes: Any) -> None:
    """Label the axes; where curves on them are about different norms or inputs, the labels say so."""
    before, share = axes.get_xlabel(), f"accuracy on {summary.n:,} inputs (%)"
    label_radii(axes, summary)
    if certified_lines(axes):
        radius = axes.get_xlabel()
        axes.set_xlabel(before if radius in before.split(" and ") else f"{before} and {radius}")
        share = share if share == axes.get_ylabel() else "accuracy on the inputs of each (%)"
    axes.set_ylabel(share)


def _attacked(summary: Summary, found: Curve, axes: Any, color: str, width: float = _ALONE) -> Any:
    """What attacks leave, where they ran, and above it what may be true although an example was accepted.

    Returns the line, or None where no attack ran.
    """
    if found.empirical is None:
        return None
    style = {"drawstyle": "steps-post", "linestyle": "--", "linewidth": width, "color": color}
    [line] = axes.plot(found.radius, 100 * found.empirical, label=key(axes, "no attack succeeded"), **style)
    if found.empirical_upper is not None and np.any(found.empirical_upper > found.empirical):
        band = {"step": "post", "color": color, "alpha": 0.12, "linewidth": 0}
        label = key(axes, f"truly robust, at most{_sure(summary, found)}")
        axes.fill_between(found.radius, 100 * found.empirical, 100 * found.empirical_upper, label=label, **band)
    return line


def _sure(summary: Summary, found: Curve) -> str:
    """The confidence in brackets; empty for proofs, which need none."""
    return "" if summary.guarantee.alpha is None else f" ({percent(found.confidence, ' %')} sure)"


def _points(summary: Summary) -> int:
    """Points of a drawn curve: at least one for every declared radius."""
    return max(POINTS, len(summary.rows) + 2)
