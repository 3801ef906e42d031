"""The envelope over several runs as text."""

from __future__ import annotations

import textwrap

from certify.core.legible import legible_line
from certify.core.rounding import brief, percent_down
from certify.core.shown import VIEWS
from certify.report.columns import WIDTH, aligned, at_least
from certify.summary.envelope import Envelope

__all__ = ["envelope_text"]


@VIEWS.register("envelope.text")
def envelope_text(best: Envelope) -> str:
    """A line a radius with the run that reaches it, and what choosing it means."""
    over = f"best at each {best.norm} radius over {len(best.runs)} runs, n={best.n:,}"
    lines = [["radius", "certified %", at_least(best.confidence), "run"]]
    for row in best.rows:
        lines.append([brief(row.radius), percent_down(row.certified), percent_down(row.certified_lower), row.run])
    text = [f"{over} (selected on the test set: optimistic)", "", *aligned(lines), ""]
    return "\n".join(map(legible_line, [*text, *textwrap.wrap(best.statement, WIDTH)]))
