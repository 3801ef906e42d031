"""The envelope over several runs in every format that a summary has."""

from __future__ import annotations

import json

from certify.core.rounding import brief, percent_down
from certify.core.shown import VIEWS
from certify.report.curve import drawn_curves
from certify.report.machine import csv_lines
from certify.report.summary_table import ROUNDING, at_least
from certify.report.titled import Titled, register_titled
from certify.summary.envelope import Envelope

__all__ = ["csv_text", "curve", "json_text"]


@VIEWS.register("envelope.csv")
def csv_text(best: Envelope) -> str:
    """The rows, exact fractions, with a header line."""
    lines = [(best.norm, best.units, row.radius, row.certified, row.certified_lower, row.run) for row in best.rows]
    return csv_lines([("norm", "units", "radius", "certified", "certified_lower", "run"), *lines])


@VIEWS.register("envelope.json")
def json_text(best: Envelope) -> str:
    """One JSON object with the curve's points; fractions, not percents."""
    return json.dumps(best.to_dict(), indent=2, allow_nan=False)


@VIEWS.register("envelope.curve")
def curve(best: Envelope) -> str:
    """The best certified accuracy over the radius, drawn with characters."""
    title = f"certified accuracy in % over the {best.norm} radius: the best of {len(best.runs)} runs at each"
    radii, shares = zip(*best.curve, strict=True)
    return drawn_curves(title, radii, {"": shares})


def _titled(best: Envelope) -> Titled:
    """A line a radius with the run that reaches it, and what choosing it means."""
    lines = [["radius", "certified %", at_least(best.confidence), "run"]]
    for row in best.rows:
        lines.append([brief(row.radius), percent_down(row.certified), percent_down(row.certified_lower), row.run])
    return Titled(
        f"best at each {best.norm} radius over {len(best.runs)} runs, n={best.n:,} (selected on the test set: "
        "optimistic)",
        lines,
        f"{ROUNDING} {best.statement}",
        "envelope",
        [False, False, False, True],
    )


register_titled(VIEWS, _titled, prefix="envelope.")
