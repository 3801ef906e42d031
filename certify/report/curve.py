"""Format ``curve``: accuracy over the radius, drawn with characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import uniplot

from certify.core.summary import FORMATS, Summary
from certify.summary.curves import even_radii

__all__ = ["drawn_curves", "render"]


def drawn_curves(title: str, radii: Sequence[float], shares: Mapping[str, Sequence[float]]) -> str:
    """Curves of shares over the same ascending radii, in percent, as text; a share named "" has no legend."""
    text: str = uniplot.plot_to_string(
        xs=[radii] * len(shares),
        ys=[[100 * share for share in curve] for curve in shares.values()],
        lines=True,
        width=72,
        height=14,
        y_min=0,
        y_max=100,
        x_min=0,
        x_max=radii[-1],
        title=title,
        legend_labels=list(filter(None, shares)) or None,
        color=False,
    )
    return text


@FORMATS.register("curve")
def render(summary: Summary) -> str:
    """Certified accuracy, and above it accuracy under attack, from radius 0 to a little past the largest declared."""
    radii = even_radii(summary)
    shares = {"certified": [summary.certified_at(radius) for radius in radii]}
    if all(row.empirical is not None for row in summary.rows):
        shares["attacked"] = [summary.empirical_at(radius) or 0.0 for radius in radii]
    names = "lower line certified, upper line attacked" if len(shares) > 1 else "certified"
    return drawn_curves(f"accuracy in % over the {summary.threat.quantity}: {names}", radii, shares)
