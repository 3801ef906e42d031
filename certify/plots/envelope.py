"""The envelope over several runs: the best certified accuracy at each radius."""

from __future__ import annotations

from typing import Any

from certify.core.shown import DRAWINGS
from certify.plots.canvas import new_axes

__all__ = ["envelope"]


@DRAWINGS.register("envelope")
def envelope(best: Any, axes: Any = None) -> Any:
    """Draw the curve of an :class:`~certify.summary.envelope.Envelope`; return the Axes.

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
