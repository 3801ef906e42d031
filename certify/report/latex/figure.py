"""The curves of one or several runs: drawn by matplotlib, and as source for pgfplots.

The source is written from the drawing, so both show the same, and no TeX is needed to write either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from math import isnan
from typing import Any, Final

from certify.core.run import Run
from certify.core.shown import DRAWINGS
from certify.core.summary import PLOTS
from certify.errors import needs
from certify.report.latex.text import escape, settable

__all__ = ["drawing", "pdf", "pgfplots"]

_AXES_INCHES: Final = (3.5, 3.2)
"""Width and height of one set of axes in inches: two fill the text of a paper."""

_LINE_SCALE: Final = 0.6
"""Width of a line on paper, as a multiple of its width on a screen."""

_STEPS: Final = {"steps-pre": "const plot mark right", "steps-post": "const plot mark left"}
_DASHES: Final = {"--": "dashed", ":": "dotted", "-.": "dashdotted", "-": "solid"}
_MARKS: Final = {
    **{"o": "*", "s": "square*", "D": "diamond*", "P": "pentagon*", "*": "star", "x": "x", "X": "x", "^": "triangle*"},
    **{turned: f"triangle*, mark options={{rotate={angle}}}" for turned, angle in (("v", 180), ("<", 90), (">", 270))},
}


def drawing(runs: Sequence[Run]) -> Any:
    """A matplotlib Figure with one set of axes for each measure of radii; runs that share it are drawn over each other.

    Raises:
        MissingExtra: without matplotlib.
    """
    with needs("matplotlib", "plot", "a figure for LaTeX"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    measures: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        measures.setdefault((run.summary.threat.measure, run.summary.threat.units), []).append(run)
    width, height = _AXES_INCHES
    with rc_context({"font.size": 8, "legend.fontsize": 6.5, "pdf.fonttype": 42}):
        figure = Figure(figsize=(width * len(measures), height), layout="constrained")
        for axes, alike in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures.values(), strict=True):
            _draw(alike, axes)
            for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()):
                text.set(text=settable(text.get_text()), parse_math=False)  # a name is no formula
    return figure


def _draw(runs: Sequence[Run], axes: Any) -> None:
    if len(runs) == 1:
        PLOTS["curves"](runs[0].summary, axes)
        axes.set_title(runs[0].name)
    else:
        DRAWINGS["runs"](runs, axes)


def pdf(figure: Any) -> bytes:
    """The figure as PDF, the same bytes each time."""
    from matplotlib import rc_context

    out = BytesIO()
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(out, format="pdf", metadata={"CreationDate": None})
    return out.getvalue()


def pgfplots(figure: Any) -> str:
    """The figure as one tikzpicture for each set of axes; it needs the package pgfplots."""
    pictures = [_picture(axes, place) for place, axes in enumerate(figure.axes)]
    return "\n".join(["% needs \\usepackage{pgfplots}", *pictures])


def _picture(axes: Any, place: int) -> str:
    drawn = [one for one in axes.get_children() if one in axes.collections or one in axes.lines]
    legend = axes.get_legend()
    entries = list(zip(legend.legend_handles, (text.get_text() for text in legend.get_texts()), strict=True))
    colors = dict.fromkeys(map(_hex, [*drawn, *(handle for handle, _ in entries)]))
    names = {color: f"certify{chr(ord('A') + place)}{chr(ord('a') + rank)}" for rank, color in enumerate(colors)}
    define = [rf"\definecolor{{{name}}}{{HTML}}{{{color[1:].upper()}}}" for color, name in names.items()]
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    options = [
        f"title={{{escape(axes.get_title())}}}",
        f"xlabel={{{escape(axes.get_xlabel())}}}",
        f"ylabel={{{escape(axes.get_ylabel())}}}",
        f"xmin=0, xmax={_number(right)}, ymin=0, ymax={_number(top)}",
        r"width=0.48\linewidth, height=0.42\linewidth, scale only axis=false",
        r"label style={font=\small}, tick label style={font=\footnotesize}, title style={font=\small}",
        "scaled ticks=false, xticklabel style={/pgf/number format/fixed, /pgf/number format/precision=3}",
        r"legend style={at={(0.45,-0.28)}, anchor=north, font=\fontsize{6.5}{8}\selectfont, draw=none}",
        "legend columns=2, legend cell align=left",
    ]
    plots = [(_line if one in axes.lines else _area)(one, names[_hex(one)], axes) for one in drawn]
    key = [rf"{_image(handle, names[_hex(handle)])} \addlegendentry{{{escape(text)}}}" for handle, text in entries]
    return "\n".join(
        [
            *define,
            r"\begin{tikzpicture}[baseline]",
            rf"\begin{{axis}}[{', '.join(options)}]",
            *plots,
            *key,
            r"\end{axis}",
            r"\end{tikzpicture}",
        ]
    )


def _hex(drawn: Any) -> str:
    from matplotlib.colors import to_hex

    return str(to_hex(_color(drawn)))


def _opacity(drawn: Any) -> str:
    from matplotlib.colors import to_rgba

    return _number(to_rgba(_color(drawn))[3])


def _color(drawn: Any) -> Any:
    """The colour of a line, of a band, or of what stands for either in the legend."""
    if hasattr(drawn, "get_paths"):
        return drawn.get_facecolor()[0]
    return drawn.get_facecolor() if hasattr(drawn, "get_width") else drawn.get_color()


def _area(band: Any, color: str, axes: Any) -> str:
    corners = [corner for path in band.get_paths() for corner in path.vertices]
    return _plot(["draw=none", f"fill={color}", f"fill opacity={_opacity(band)}"], corners, " -- cycle")


def _line(line: Any, color: str, axes: Any) -> str:
    points = line.get_xydata()
    if line.get_transform() != axes.transData:  # a line across the axes has x in shares of their width
        points = [(share * axes.get_xlim()[1], height) for share, height in points]
    return _plot([*_style(line, color), _STEPS.get(line.get_drawstyle(), "sharp plot"), _mark(line)], points, "")


def _style(line: Any, color: str) -> list[str]:
    width = f"line width={_number(line.get_linewidth() * _LINE_SCALE)}pt"
    return [color, _DASHES.get(line.get_linestyle(), "only marks"), width]


def _mark(line: Any) -> str:
    mark = f"mark={_MARKS.get(line.get_marker(), 'none')}"
    every = line.get_markevery()
    # The line's symbol in the legend has one marker.
    return mark if not isinstance(every, tuple) else f"{mark}, mark phase={every[0] + 1}, mark repeat={every[1]}"


def _plot(style: Sequence[str], points: Iterable[Any], end: str) -> str:
    """One plot without a legend entry; points that are not known (NaN) are left out."""
    coordinates = " ".join(f"({_number(x)},{_number(y)})" for x, y in points if not isnan(y))
    return rf"\addplot[{', '.join([*style, 'forget plot'])}] coordinates {{{coordinates}}}{end};"


def _image(handle: Any, color: str) -> str:
    """The symbol in the legend before a text."""
    if not hasattr(handle, "get_width"):
        return rf"\addlegendimage{{{', '.join([*_style(handle, color), _mark(handle)])}}}"
    look = f"draw=none, fill={color}, fill opacity={_opacity(handle)}"
    swatch = rf"\path[{look}] (0cm,-0.1cm) rectangle (0.6cm,0.1cm);"
    return rf"\addlegendimage{{legend image code/.code={{{swatch}}}}}"


def _number(value: float) -> str:
    """The number with every digit: rounded, a step of a curve could reach beyond the radius that was proven."""
    return repr(float(value))
