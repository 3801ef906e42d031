"""What the plots share: axes to draw on where none are given, and the text of their labels."""

from __future__ import annotations

from typing import Any

from certify.core.summary import Summary
from certify.errors import MissingExtra

__all__ = ["new_axes", "radius_label"]


def new_axes() -> Any:
    """The Axes of a new pyplot figure, which a notebook shows.

    Raises:
        MissingExtra: without matplotlib.
    """
    try:
        from matplotlib import pyplot
    except ImportError as absent:
        raise MissingExtra("matplotlib", "plot", "drawing a summary") from absent
    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]


def radius_label(summary: Summary, which: str = "") -> str:
    """What an axis with radii is called: never without the norm and the units."""
    return f"{which} {summary.threat.measure} radius ({summary.threat.units})".lstrip()
