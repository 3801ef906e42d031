"""The envelope over several runs in every format that a summary has."""

from __future__ import annotations

import csv
import io
import json
import textwrap

import uniplot

from certify.core.legible import legible, legible_line
from certify.core.rounding import brief, percent_down
from certify.core.shown import VIEWS
from certify.report import markdown_text
from certify.report.columns import WIDTH, aligned, at_least
from certify.report.html_text import escape, html_table
from certify.report.latex.text import escape as tex
from certify.summary.envelope import Envelope

__all__ = ["csv_text", "curve", "html", "json_text", "latex", "markdown", "table"]


@VIEWS.register("envelope.table")
def table(best: Envelope) -> str:
    """A line a radius with the run that reaches it, and what choosing it means."""
    text = [f"{_title(best)}", "", *aligned(_lines(best)), ""]
    return "\n".join(map(legible_line, [*text, *textwrap.wrap(best.statement, WIDTH)]))


@VIEWS.register("envelope.markdown")
def markdown(best: Envelope) -> str:
    """The same for a pull request."""
    head, *lines = _lines(best)
    title, statement = map(markdown_text.escape, (_title(best), best.statement))
    return f"### {title}\n\n{markdown_text.table(head, lines)}\n\n{statement}"


@VIEWS.register("envelope.html")
def html(best: Envelope) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    return f"<div><p>{escape(_title(best))}</p>{html_table(_lines(best))}<p>{escape(best.statement)}</p></div>"


@VIEWS.register("envelope.latex")
def latex(best: Envelope) -> str:
    """A table that needs the package booktabs."""
    head, *lines = (" & ".join(map(tex, line)) + r" \\" for line in _lines(best))
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{tex(_title(best))}. {tex(best.statement)}}}",
            r"\label{tab:envelope}",
            r"\begin{tabular}{@{}rrrl@{}}",
            *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


@VIEWS.register("envelope.csv")
def csv_text(best: Envelope) -> str:
    """The rows, exact fractions, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["norm", "units", "radius", "certified", "certified_lower", "run"])
    for row in best.rows:
        writer.writerow([best.norm, best.units, row.radius, row.certified, row.certified_lower, row.run])
    return legible(text.getvalue().rstrip("\n"))


@VIEWS.register("envelope.json")
def json_text(best: Envelope) -> str:
    """One JSON object with the curve's points; fractions, not percents."""
    return json.dumps(best.to_dict(), indent=2, allow_nan=False)


@VIEWS.register("envelope.curve")
def curve(best: Envelope) -> str:
    """The best certified accuracy over the radius, drawn with characters."""
    radii, shares = zip(*best.curve, strict=True)
    drawn: str = uniplot.plot_to_string(
        xs=radii,
        ys=[100 * share for share in shares],
        lines=True,
        width=72,
        height=14,
        y_min=0,
        y_max=100,
        x_min=0,
        x_max=radii[-1],
        title=f"certified accuracy in % over the {best.norm} radius: the best of {len(best.runs)} runs at each",
        color=False,
    )
    return drawn


def _title(best: Envelope) -> str:
    over = f"best at each {best.norm} radius over {len(best.runs)} runs, n={best.n:,}"
    return f"{over} (selected on the test set: optimistic); certified shares are rounded down"


def _lines(best: Envelope) -> list[list[str]]:
    head = ["radius", "certified %", at_least(best.confidence), "run"]
    cells = (
        [brief(row.radius), percent_down(row.certified), percent_down(row.certified_lower), row.run]
        for row in best.rows
    )
    return [head, *cells]
