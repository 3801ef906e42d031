"""Guaranteed certified accuracy over the amount of shift, a line for each radius."""

from __future__ import annotations

import math
from typing import Any

from certify.core.shown import DRAWINGS
from certify.deployment.shift import Curve, Shift
from certify.plots.axes import MARKERS, new_axes
from certify.stats.shift import MEASURES

__all__ = ["draw_all", "draw_curve", "inches", "shift"]

POINTS = 200
"""Points of a smooth line."""


def inches(found: Shift) -> tuple[float, float]:
    """Width and height of a figure for :func:`draw_all`."""
    return 6.5, 3.0 * len(found.curves)


def draw_all(found: Shift, figure: Any) -> None:
    """Draw every curve, one below the other."""
    drawn = figure.subplots(len(found.curves), squeeze=False)[:, 0]
    for one, axes in zip(found.curves, drawn, strict=True):
        draw_curve(found, one, axes)


@DRAWINGS.register("shift")
def shift(found: Shift, axes: Any = None) -> Any:
    """Draw the first curve; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    return draw_curve(found, found.curves[0], new_axes() if axes is None else axes)


def draw_curve(found: Shift, one: Curve, axes: Any) -> Any:
    """Draw one curve, with the threshold and where it breaks; return the Axes."""
    for place, radius in enumerate(found.radii):
        color, marker = f"C{place % 10}", MARKERS[place % len(MARKERS)]
        amounts, bounds = _line(found, one, place)
        # Curves are convex: a straight line between two points would promise more than either does.
        axes.plot(amounts, [100 * bound for bound in bounds], color=color, drawstyle="steps-pre")
        points = [100 * bound for bound in one.lower[place]]
        axes.plot(one.amounts, points, marker, color=color, label=found.threat.amount(radius))
        largest = one.largest[place] if one.largest else None
        if largest is not None and math.isfinite(largest) and largest <= one.amounts[-1]:
            axes.axvline(largest, color=color, linewidth=0.8, linestyle=":")
    if found.threshold is not None:
        axes.axhline(100 * found.threshold, color="tab:gray", linewidth=0.8, label="threshold")
    axes.set_ylim(-2, 102)
    axes.set_xlabel(f"shift, {one.title}: at most", parse_math=False)  # a column's name with two dollars is no formula
    axes.set_ylabel("certified accuracy, at least (%)")
    axes.legend(fontsize="small", frameon=False)
    return axes


def _line(found: Shift, one: Curve, place: int) -> tuple[list[float], list[float]]:
    """More points than the table has, where they follow from the bound of the source."""
    if one.measure not in MEASURES:
        return list(one.amounts), list(one.lower[place])
    low, high, measure = one.amounts[0], one.amounts[-1], MEASURES[one.measure]
    amounts = [min(high, low + (high - low) * point / POINTS) for point in range(POINTS + 1)]
    return amounts, [measure.after(found.source[place], amount) for amount in amounts]
