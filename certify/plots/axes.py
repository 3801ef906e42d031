"""What the plots share: axes to draw on where none are given, their labels, markers and legends.

A legend of curves has one line for each colour, which is a run, and one for each style, which is a kind of number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from certify.core.summary import Summary
from certify.errors import needs

__all__ = ["MARKERS", "certified_lines", "key", "label_radii", "legend_of_curves", "legend_of_runs", "new_axes"]

MARKERS: Final = "osD^vP*X<>"
"""What tells runs or certifiers apart besides their colour, for print and for those who do not see colours."""

_SHARED: Final = "tab:gray"
"""The colour of what is said of every run."""

_COMPACT: Final = {"ncols": 2, "frameon": False, "fontsize": "small", "columnspacing": 1.0}


def new_axes() -> Any:
    """The Axes of a new pyplot figure, which a notebook shows.

    Raises:
        MissingExtra: without matplotlib.
    """
    with needs("matplotlib", "plot", "drawing a summary"):
        from matplotlib import pyplot
    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]


def label_radii(axes: Any, summary: Summary, which: str = "") -> None:
    """Label the x axis with what radii are, and their units; its ticks are whole numbers where radii are."""
    threat = summary.threat
    units = "" if threat.measured == threat.quantity else f" ({threat.units})"
    axes.set_xlabel(f"{which} {threat.quantity}{units}".lstrip())
    if threat.counted:
        axes.xaxis.get_major_locator().set_params(integer=True)


def certified_lines(axes: Any) -> list[Any]:
    """The certified curves on the axes, whatever somebody has called them since."""
    return [line for line in axes.get_lines() if line.get_drawstyle() == "steps-pre" and line.get_linestyle() == "-"]


def key(axes: Any, label: str) -> str:
    """The label, or one that legends hide if the axes have it already, so that each style is named once."""
    return "_nolegend_" if label in axes.get_legend_handles_labels()[1] else label


def legend_of_curves(axes: Any) -> None:
    """The legend of summaries that were drawn one after the other; several are numbered, for they have no names."""
    lines = certified_lines(axes)
    if len(lines) < 2:
        axes.legend(loc="lower left")
        return
    labels = [line.get_label() for line in lines]
    numbered = [f"{label} ({rank})" if labels.count(label) > 1 else label for rank, label in enumerate(labels, 1)]
    _below(axes, [*zip(lines, numbered, strict=True), *_styles(axes, lines)])


def legend_of_runs(axes: Any, lines: Sequence[Any], names: Sequence[str]) -> None:
    """The legend of runs: ``lines`` are their certified curves."""
    from matplotlib.lines import Line2D

    shown = [" " * name.startswith("_") + name for name in names]  # matplotlib shows no label that begins so
    certified = Line2D([], [], color=_SHARED, linewidth=1.5)
    _below(axes, [*zip(lines, shown, strict=True), (certified, "certified"), *_styles(axes, lines)])


def _styles(axes: Any, lines: Sequence[Any]) -> list[tuple[Any, str]]:
    """Everything else that has a label, in grey where it stands for all runs and not for the one it is drawn for."""
    colors = {_color(line) for line in lines}
    drawn = [*axes.get_lines(), *axes.collections]
    labelled = zip(*axes.get_legend_handles_labels(), strict=True)
    return [
        (_grey(one) if one in drawn and _color(one) in colors else one, label)
        for one, label in labelled
        if one not in lines
    ]


def _color(drawn: Any) -> str:
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D

    return str(to_hex(drawn.get_color() if isinstance(drawn, Line2D) else drawn.get_facecolor()[0]))


def _grey(drawn: Any) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not isinstance(drawn, Line2D):
        return Patch(facecolor=_SHARED, alpha=drawn.get_alpha(), linewidth=0)
    style: dict[str, Any] = {
        "linestyle": drawn.get_linestyle(),
        "marker": drawn.get_marker(),
        "linewidth": min(1.5, drawn.get_linewidth()),
    }
    return Line2D([], [], color=_SHARED, **style)


def _below(axes: Any, entries: Sequence[tuple[Any, str]]) -> None:
    """A legend under the label of the x axis, where it covers no curve."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.transforms import ScaledTranslation

    size = FontProperties(size=axes.xaxis.label.get_size()).get_size_in_points()
    under = axes.transAxes + ScaledTranslation(0, -3.6 * size / 72, axes.figure.dpi_scale_trans)
    handles, labels = zip(*entries, strict=True)
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=under, **_COMPACT)
