"""The envelope over several runs in every format that a summary has."""

from __future__ import annotations

import csv
import io
import json

import uniplot

from certify.core.legible import legible
from certify.core.rounding import brief, percent_down
from certify.core.shown import VIEWS
from certify.report.columns import ROUNDING, at_least
from certify.report.titled import Titled
from certify.summary.envelope import Envelope

__all__ = ["csv_text", "curve", "html", "json_text", "latex", "markdown", "table"]


@VIEWS.register("envelope.table")
def table(best: Envelope) -> str:
    """A line a radius with the run that reaches it, and what choosing it means."""
    return _titled(best).table()


@VIEWS.register("envelope.markdown")
def markdown(best: Envelope) -> str:
    """The same for a pull request."""
    return _titled(best).markdown()


@VIEWS.register("envelope.html")
def html(best: Envelope) -> str:
    """The same as an HTML fragment for notebooks."""
    return _titled(best).html()


@VIEWS.register("envelope.latex")
def latex(best: Envelope) -> str:
    """The same as a table that needs the package booktabs."""
    return _titled(best).latex()


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


def _titled(best: Envelope) -> Titled:
    over = f"best at each {best.norm} radius over {len(best.runs)} runs, n={best.n:,}"
    lines = [["radius", "certified %", at_least(best.confidence), "run"]]
    for row in best.rows:
        lines.append([brief(row.radius), percent_down(row.certified), percent_down(row.certified_lower), row.run])
    return Titled(
        f"{over} (selected on the test set: optimistic)",
        lines,
        f"{ROUNDING} {best.statement}",
        "envelope",
        [False, False, False, True],
    )
