"""The e-values of a monitor over the inputs of its stream."""

from __future__ import annotations

import math
from typing import Any

from certify.core.monitoring import MonitorReport
from certify.core.shown import DRAWINGS
from certify.plots.axes import new_axes

__all__ = ["draw_monitor"]


@DRAWINGS.register("monitor")
def draw_monitor(report: MonitorReport, axes: Any = None) -> Any:
    """Draw the decimal logarithm of each e-value over the rows, and the threshold; return the Axes.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    for place, one in enumerate(report.processes):
        color = f"C{place % 10}"
        rows, logs = zip(*one.series, strict=True)
        axes.plot(rows, [log_e / math.log(10) for log_e in logs], color=color, label=one.name)
        if one.alarm is not None:
            axes.axvline(one.alarm.rows, color=color, linewidth=0.8, linestyle="--")
    for level in sorted({one.threshold / math.log(10) for one in report.processes})[-1:]:
        axes.axhline(level, color="black", linewidth=0.8, linestyle=":", label="alarm")
    axes.set_xlabel("inputs of the stream")
    axes.set_ylabel("e-value (powers of ten)")
    axes.legend()
    return axes
