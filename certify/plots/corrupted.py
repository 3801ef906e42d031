"""Accuracy under corruptions: by severity, or over the strength of one corruption beside certified accuracy."""

from __future__ import annotations

from typing import Any

from certify.core.corrupted import CORRUPT_PLOTS, Corrupted
from certify.plots.axes import new_axes

__all__ = ["accuracy", "draw_all", "inches"]

_ACROSS = 3


def inches(found: Corrupted) -> tuple[float, float]:
    """Width and height of a figure for :func:`draw_all`."""
    count = len(found.corruptions)
    return 3.2 * min(count, _ACROSS), 2.6 * -(-count // _ACROSS)


def draw_all(found: Corrupted, figure: Any) -> None:
    """Draw each corruption in a field of its own, which explains the lines that no field before it has."""
    explained: set[str] = set()
    count = len(found.corruptions)
    fields = figure.subplots(-(-count // _ACROSS), min(count, _ACROSS), squeeze=False, sharey=True).flatten()
    for place, axes in enumerate(fields):
        if place >= count:
            axes.set_axis_off()
            continue
        accuracy(found, axes, found.corruptions[place])
        if place % _ACROSS:
            axes.set_ylabel("")
        axes.get_legend().remove()
        lines = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if new := {label: line for label, line in lines.items() if label not in explained}:
            axes.legend(new.values(), new, fontsize="small", frameon=False)
        explained |= set(lines)


@CORRUPT_PLOTS.register("accuracy")
def accuracy(found: Corrupted, axes: Any = None, corruption: str | None = None) -> Any:
    """Draw accuracy by severity of all corruptions; or of one, over its strength, with intervals and certificates.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    axes.set_ylim(-2, 102)
    axes.set_ylabel("accuracy (%)")
    if corruption is None:
        for name in found.corruptions:
            rows = found.of(name)
            axes.plot([row.severity for row in rows], [100 * row.accuracy for row in rows], "o-", label=name)
        axes.set_xlabel("severity")
    else:
        rows = found.of(corruption)
        strengths = [row.strength for row in rows]
        axes.plot(strengths, [100 * row.accuracy for row in rows], "o-", color="C0", label="accuracy")
        bounds = [[100 * getattr(row, end) for row in rows] for end in ("lower", "upper")]
        axes.fill_between(strengths, *bounds, color="C0", alpha=0.2, linewidth=0)
        for place, run in enumerate(found.runs):
            known = [(row.strength, 100 * share) for row in rows if (share := row.certified[place]) is not None]
            if known and len(known) > 1:
                name = f"certified, {run.name}" if len(found.runs) > 1 else "certified"
                axes.plot(*zip(*known, strict=True), "s--", color=f"C{place + 1}", label=name)
        axes.set_xlabel(corruption)
    axes.legend(fontsize="small", frameon=False)
    return axes
