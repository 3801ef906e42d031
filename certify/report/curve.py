"""Format ``curve``: accuracy over the radius, drawn with characters."""

from __future__ import annotations

import uniplot

from certify.core.summary import FORMATS, Summary

__all__ = ["render"]

POINTS = 240


@FORMATS.register("curve")
def render(summary: Summary) -> str:
    """Certified accuracy, and above it accuracy under attack, from radius 0 to a little past the largest declared."""
    end = summary.threat.largest * 1.1 or 1.0
    radii = [end * step / (POINTS - 1) for step in range(POINTS)]
    curves = {"certified": [100 * summary.certified_at(radius) for radius in radii]}
    if all(row.empirical is not None for row in summary.rows):
        curves["attacked"] = [100 * (summary.empirical_at(radius) or 0.0) for radius in radii]
    names = "lower line certified, upper line attacked" if len(curves) > 1 else "certified"
    drawn: str = uniplot.plot_to_string(
        xs=[radii] * len(curves),
        ys=list(curves.values()),
        lines=True,
        width=72,
        height=14,
        y_min=0,
        y_max=100,
        x_min=0,
        x_max=end,
        title=f"accuracy in % over the {summary.threat.measure} radius: {names}",
        legend_labels=list(curves),
        color=False,
    )
    return drawn
