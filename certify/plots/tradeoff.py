"""Clean against certified accuracy at one radius: what robustness costs, over any number of models."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from certify.core.comparison import COMPARISON_PLOTS, Comparison
from certify.core.rounding import brief
from certify.core.run import Run
from certify.errors import BadInput
from certify.plots.axes import MARKERS, new_axes
from certify.summary.words import percent

__all__ = ["tradeoff"]

_NAMES_WIDTH: Final = 40
"""Characters in a line of the names at one point."""

_BEYOND: Final = 0.03
"""The share of an axis that may lie beyond 100 %, so that a marker at 100 % is drawn whole."""


@COMPARISON_PLOTS.register("tradeoff")
def tradeoff(comparison: Comparison, radius: float, axes: Any = None) -> Any:
    """Draw a point for each run, with a bar for what is truly robust; return the Axes.

    The bar begins at the fraction that is truly robust at least, with the confidence of the run's own statement, and
    ends at the fraction that withstood the run's attacks; at the point itself where no attack ran at this radius.

    Raises:
        BadInput: for a radius that is none of the comparison's.
        MissingExtra: without matplotlib.
    """
    if radius not in comparison.radii:
        known = ", ".join(map(brief, comparison.radii))
        raise BadInput(f"radius {radius:g} is none of the comparison's: {known}; name it with --radii as well")
    axes = new_axes() if axes is None else axes
    methods = list(dict.fromkeys(map(_method, comparison.runs)))
    names: dict[tuple[float, float], list[str]] = {}
    for run in comparison.runs:
        place = methods.index(_method(run))
        point = _point(axes, run, radius, f"C{place}", MARKERS[place % len(MARKERS)])
        names.setdefault(point, []).append(run.name)
    for place, method in enumerate(methods):
        axes.plot([], [], MARKERS[place % len(MARKERS)], color=f"C{place}", label=method)
    baseline = comparison.baseline.summary
    confidence = percent(min(run.summary.confidence for run in comparison.runs), " %")
    axes.plot(
        [], [], "|", color="0.4", label=f"from truly robust (at least, {confidence} each) to not broken by attacks"
    )
    _limit(axes)
    for point, alike in names.items():
        _name(axes, point, alike)
    axes.set_xlabel(f"clean accuracy on {baseline.n:,} inputs (%)")
    axes.set_ylabel(f"certified at {baseline.threat.amount(radius)}, in {baseline.threat.units} (%)")
    axes.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1.01))
    return axes


def _point(axes: Any, run: Run, radius: float, color: str, marker: str) -> tuple[float, float]:
    """Draw one point; return its clean and certified accuracy in percent."""
    row = next(row for row in run.summary.rows if row.radius == radius)
    clean, certified = 100 * run.summary.clean, 100 * row.certified
    above = certified if row.empirical is None else 100 * row.empirical
    ends = [[certified - 100 * row.certified_lower], [max(0.0, above - certified)]]
    axes.errorbar([clean], [certified], yerr=ends, fmt=marker, color=color, capsize=3, elinewidth=1)
    return clean, certified


def _limit(axes: Any) -> None:
    """Leave room around the points, and no tick marks below 0 or above 100 %."""
    axes.margins(x=0.2, y=0.1)
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        low, high = axis.get_view_interval()
        low = max(0.0, low)
        limit(low, min(high, 100 + _BEYOND * (100 - low)))
        axis.set_ticks([mark for mark in axis.get_ticklocs() if low <= mark <= min(high, 100)])


def _name(axes: Any, point: tuple[float, float], names: list[str]) -> None:
    """The names of all runs at a point, on the side of it where there is more room."""
    left, right = axes.get_xlim()
    side, align = (-6, "right") if point[0] > (left + right) / 2 else (6, "left")
    text = textwrap.fill(", ".join(names), _NAMES_WIDTH)
    place = {"xytext": (side, 4), "textcoords": "offset points", "ha": align}
    axes.annotate(text, point, fontsize="small", **place)


def _method(run: Run) -> str:
    """Certifiers, and whether they are about the model or about a smoothed one."""
    about = "a smoothed model" if run.summary.smoothed else "the model itself"
    return f"{' and '.join(run.summary.methods)}: about {about}"
