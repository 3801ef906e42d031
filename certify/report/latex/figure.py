"""The curves of one or several runs: drawn by matplotlib, and as source for pgfplots.

The source is written from the drawing, so both show the same, and no TeX is needed to write either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, Final

from certify.core.run import Run
from certify.core.summary import PLOTS
from certify.errors import MissingExtra
from certify.report.latex.text import escape, settable

__all__ = ["drawing", "pdf", "pgfplots"]

_SIZE: Final = (3.5, 3.2)
"""Width and height of one set of axes in inches: two fill the text of a paper."""

_STEPS: Final = {"steps-pre": "const plot mark right", "steps-post": "const plot mark left"}
_DASHES: Final = {"--": "dashed", ":": "dotted", "-.": "dashdotted", "-": "solid"}
_MARKS: Final = {"v": "triangle*, mark options={rotate=180}", "^": "triangle*", "x": "x", "o": "*", "s": "square*"}


def drawing(runs: Sequence[Run]) -> Any:
    """A matplotlib Figure with one set of axes for each measure of radii; runs that share it are drawn over each other.

    Raises:
        MissingExtra: without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as absent:
        raise MissingExtra("matplotlib", "plot", "a figure for LaTeX") from absent
    measures: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        measures.setdefault((run.summary.threat.measure, run.summary.threat.units), []).append(run)
    width, height = _SIZE
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
        return
    for run in runs:
        before = len(axes.get_lines())
        PLOTS["certified"](run.summary, axes)
        line = axes.get_lines()[before]
        line.set_label(f"certified: {run.name}")
        attacked = [(row.radius, 100 * row.empirical) for row in run.summary.rows if row.empirical is not None]
        if attacked:
            axes.plot(
                *zip(*attacked, strict=True),
                "v--",
                drawstyle="steps-post",
                color=line.get_color(),
                label=f"no attack succeeded: {run.name}",
            )
    axes.legend()


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
    from matplotlib.colors import to_hex

    drawn = [one for one in axes.get_children() if one in axes.collections or one in axes.lines]
    colors = dict.fromkeys(_hex(one) for one in drawn)
    names = {color: f"certify{chr(ord('A') + place)}{chr(ord('a') + rank)}" for rank, color in enumerate(colors)}
    define = [rf"\definecolor{{{name}}}{{HTML}}{{{to_hex(color)[1:].upper()}}}" for color, name in names.items()]
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    options = [
        f"title={{{escape(axes.get_title())}}}",
        f"xlabel={{{escape(axes.get_xlabel())}}}",
        f"ylabel={{{escape(axes.get_ylabel())}}}",
        f"xmin=0, xmax={_number(right)}, ymin=0, ymax={_number(top)}",
        r"width=0.48\linewidth, height=0.42\linewidth, scale only axis=false",
        r"label style={font=\small}, tick label style={font=\footnotesize}, title style={font=\small}",
        "scaled ticks=false, xticklabel style={/pgf/number format/fixed, /pgf/number format/precision=3}",
        r"legend style={at={(0.5,-0.28)}, anchor=north, font=\scriptsize, draw=none}, legend cell align=left",
    ]
    plots = [(_line if one in axes.lines else _area)(one, names[_hex(one)], axes) for one in drawn]
    return "\n".join(
        [
            *define,
            r"\begin{tikzpicture}[baseline]",
            rf"\begin{{axis}}[{', '.join(options)}]",
            *plots,
            r"\end{axis}",
            r"\end{tikzpicture}",
        ]
    )


def _hex(drawn: Any) -> str:
    from matplotlib.colors import to_hex

    return str(to_hex(drawn.get_facecolor()[0] if hasattr(drawn, "get_paths") else drawn.get_color()))


def _area(band: Any, color: str, axes: Any) -> str:
    corners = [corner for path in band.get_paths() for corner in path.vertices]
    return _plot(["area legend", "draw=none", f"fill={color}", "fill opacity=0.25"], corners, " -- cycle", band)


def _line(line: Any, color: str, axes: Any) -> str:
    points = line.get_xydata()
    if line.get_transform() != axes.transData:  # a line across the axes, in shares of their width
        points = [(share * axes.get_xlim()[1], height) for share, height in points]
    style = [color, _DASHES.get(line.get_linestyle(), "only marks"), _STEPS.get(line.get_drawstyle(), "sharp plot")]
    return _plot([*style, f"mark={_MARKS.get(line.get_marker(), 'none')}"], points, "", line)


def _plot(style: Sequence[str], points: Iterable[Any], end: str, drawn: Any) -> str:
    """One plot with its line of the legend; what has none is left out of the legend's count."""
    label = str(drawn.get_label())
    named = not label.startswith("_")
    options = ", ".join([*style, *([] if named else ["forget plot"])])
    entry = rf" \addlegendentry{{{escape(label)}}}" if named else ""
    coordinates = " ".join(f"({_number(x)},{_number(y)})" for x, y in points)
    return rf"\addplot[{options}] coordinates {{{coordinates}}}{end};{entry}"


def _number(value: float) -> str:
    """Every digit: rounded to nearest, a step could reach beyond the radius that was proven."""
    return repr(float(value))
