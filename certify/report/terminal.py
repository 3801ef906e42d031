"""Format ``table``: plain text that fits a terminal, a log and an e-mail; and runs as a terminal shows them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from certify.core.legible import legible_line
from certify.core.run import Run
from certify.core.summary import FORMATS, Summary
from certify.report.blocks import blocks_text
from certify.report.columns import WIDTH, aligned, cells, closing, headings
from certify.report.groups import group_blocks, worst_lines
from certify.report.side_by_side import side_by_side

__all__ = ["print_runs", "render"]


@FORMATS.register("table")
def render(summary: Summary) -> str:
    """Head, one line a radius, contradictions, the statement in words, and the tables by group."""
    head = []
    for name, text in summary.head.items():
        head += textwrap.wrap(f"{name:<10} {text}", WIDTH, subsequent_indent=" " * 11)
    table = aligned([headings(summary), *(cells(summary, row) for row in summary.rows)])
    foot = [text for line in closing(summary) for text in textwrap.wrap(line, WIDTH)]
    for groups in summary.groups:
        first, *blocks = group_blocks(groups)
        foot += ["", *blocks_text(first, blocks, WIDTH), ""]
        foot += [text for line in worst_lines(groups) for text in textwrap.wrap(line, WIDTH)]
    return "\n".join(map(legible_line, [*head, "", *table, "", *foot]))


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
