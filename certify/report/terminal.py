"""Format ``table``: plain text that fits a terminal, a log and an e-mail; and runs as a terminal shows them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from certify.core.legible import legible_line
from certify.core.run import Run
from certify.core.summary import FORMATS, Summary
from certify.report.blocks import WIDTH, aligned, blocks_text, labelled, wrapped
from certify.report.side_by_side import side_by_side
from certify.report.summary_table import cells, closing, group_blocks, headings, worst_lines

__all__ = ["print_runs", "render"]


@FORMATS.register("table")
def render(summary: Summary) -> str:
    """Head, one line a radius, contradictions, the statement in words, and the tables by group."""
    table = aligned([headings(summary), *(cells(summary, row) for row in summary.rows)])
    foot = wrapped(closing(summary))
    for groups in summary.groups:
        first, *blocks = group_blocks(groups)
        foot += ["", *blocks_text(first, blocks, WIDTH), "", *wrapped(worst_lines(groups))]
    return "\n".join(map(legible_line, [*labelled(summary.head), "", *table, "", *foot]))


def print_runs(runs: Sequence[Run], file: TextIO | None = None) -> None:
    """Show runs: several side by side first, then each in full.

    On a terminal with colours, tables, the curve, the weakest and the strongest inputs; as plain text, with format
    ``table`` for each run, where the output is piped or ``NO_COLOR`` is set (no-color.org).

    Raises:
        BadInput: for no runs.
    """
    file = sys.stdout if file is None else file
    together = side_by_side(runs)
    if file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        from certify.report.coloured import show

        show(runs, together, file)
        return
    texts = [render(run.summary) for run in runs]
    if len(runs) > 1:
        named = [f"=== {legible_line(run.name)} ===\n\n{text}" for run, text in zip(runs, texts, strict=True)]
        texts = [together.text(), *named]
    file.write("\n\n".join(texts) + "\n")
