"""The table of papers: a line a run, a column a radius, certified accuracy in the cells."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Sequence

from certify.core.legible import legible, legible_line
from certify.core.rounding import brief, percent_down, percent_up, round_down
from certify.core.run import Run
from certify.registry import Registry
from certify.report import markdown_text
from certify.report.blocks import Block, blocks_text
from certify.report.columns import ROUNDING, WIDTH
from certify.report.html_text import escape, html_table
from certify.report.latex.text import escape as tex
from certify.report.side_by_side import UNDECLARED, Together, side_by_side

__all__ = ["WIDE_FORMATS", "wide"]

WIDE_FORMATS: Registry[Callable[[Together], str]] = Registry("format of a wide table")
"""A wide table of runs that can be compared, as text."""


def wide(runs: Sequence[Run], format: str = "table") -> str:
    """Certified accuracy of several runs, a line each; runs that cannot be compared have tables of their own.

    Args:
        runs: at least one.
        format: ``table``, ``markdown``, ``html``, ``latex`` or ``csv``.

    Raises:
        BadInput: for no runs, or an unknown format.
    """
    render = WIDE_FORMATS[format]
    return "\n\n".join(render(one) for one in side_by_side(runs).tables)


@WIDE_FORMATS.register("table")
def _table(together: Together) -> str:
    head, *lines = _lines(together)
    first = Block("", head[:1], [line[:1] for line in lines])
    others = [Block("", [name], [[line[place]] for line in lines]) for place, name in enumerate(head) if place]
    text = [*textwrap.wrap(_caption(together), WIDTH), "", *blocks_text(first, others, WIDTH)]
    return "\n".join(map(legible_line, text))


@WIDE_FORMATS.register("markdown")
def _markdown(together: Together) -> str:
    head, *lines = _lines(together)
    return f"{markdown_text.escape(_caption(together))}\n\n{markdown_text.table(head, lines, words=1)}"


@WIDE_FORMATS.register("html")
def _html(together: Together) -> str:
    return f"<div><p>{escape(_caption(together))}</p>{html_table(_lines(together))}</div>"


@WIDE_FORMATS.register("latex")
def _latex(together: Together) -> str:
    """A table that needs the package booktabs."""
    head, *lines = (" & ".join(map(tex, line)) + r" \\" for line in _lines(together))
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{tex(_caption(together))}}}",
            r"\label{tab:wide}",
            rf"\begin{{tabular}}{{@{{}}l{'r' * (2 + len(together.radii))}@{{}}}}",
            *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


@WIDE_FORMATS.register("csv")
def _csv(together: Together) -> str:
    """Exact fractions under exact radii."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "norm", "units", "clean", "acr", *together.radii])
    for run in together.runs:
        summary, certified = run.summary, {row.radius: row.certified for row in run.summary.rows}
        shares = [certified.get(radius, "") for radius in together.radii]
        writer.writerow([run.name, summary.threat.measure, summary.threat.units, summary.clean, summary.acr, *shares])
    return legible(text.getvalue().rstrip("\n"))


def _caption(together: Together) -> str:
    return f"Certified accuracy in % at each {together.about}. {ROUNDING} ACR: average certified radius, rounded down."


def _lines(together: Together) -> list[list[str]]:
    head = ["run", *(f"r={brief(radius)}" for radius in together.radii), "clean %", "ACR"]
    lines = []
    for run in together.runs:
        certified = {row.radius: percent_down(row.certified) for row in run.summary.rows}
        shares = [certified.get(radius, UNDECLARED) for radius in together.radii]
        lines.append([run.name, *shares, percent_up(run.summary.clean), round_down(run.summary.acr)])
    return [head, *lines]
