"""Runs on a terminal with colours. The cells and sentences are those of every other table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from certify.core.legible import legible
from certify.core.rounding import percent_down, percent_up, round_down
from certify.core.run import Run
from certify.core.sandwich import Layer
from certify.core.summary import Summary
from certify.report.blocks import WIDTH, Block, fold
from certify.report.side_by_side import SideBySide
from certify.report.summary_table import cells, closing, group_blocks, headings, layer_cells, worst_lines
from certify.summary.distribution import distribution_of_p_lower, distribution_of_radii
from certify.summary.words import percent

__all__ = ["claim_in_a_line", "show"]

_INPUTS_SHOWN = 5
"""The weakest inputs that are listed, and as many of the strongest."""


def show(runs: Sequence[Run], together: SideBySide, file: TextIO) -> None:
    """Print several runs side by side, then each in full."""
    console = Console(file=file, highlight=False)
    console = Console(file=file, highlight=False, width=min(console.width, WIDTH))
    if len(runs) > 1:
        _show_together(console, together)
    for run in runs:
        console.rule(_text(run.name, "bold"), style="dim")
        _show_run(console, run.summary)


def claim_in_a_line(summary: Summary) -> str:
    """The claim at the largest radius, with its threat model and what it is over.

    Certified is a lower limit and attacked an upper one, and both are rounded that way.
    """
    row, threat = summary.rows[-1], summary.threat
    parts = [f"{percent_down(row.certified)} % certified"]
    if summary.guarantee.alpha is not None:
        lower, sure = percent_down(row.certified_lower), percent(summary.confidence)
        parts.append(f"at least {lower} % truly robust with probability {sure} over the noise")
    if row.empirical is not None:
        parts.append(f"{percent_up(row.empirical)} % under attack")
    parts.append(f"{percent_up(summary.clean)} % clean")
    return f"{threat.amount(row.radius)} ({threat.units}): {', '.join(parts)}; n={summary.n:,}"


def _show_run(console: Console, summary: Summary) -> None:
    lines = closing(summary)
    alarms = [line for line in lines if line.startswith(("CONTRADICTION", "INCOMPLETE"))]
    _print(console, alarms, "bold red")
    _print(console, [claim_in_a_line(summary)], "bold")
    head = Table.grid(padding=(0, 2))
    for name, text in summary.head.items():
        head.add_row(_text(name, "cyan"), _text(text))
    console.print(head)
    for table in fold(*_columns(summary), console.width):
        console.print(_table(table))
    drawn = summary.curve()
    if max(map(len, drawn.splitlines())) <= console.width:
        _print(console, [drawn])
    _print(console, _spread(summary))
    _inputs(console, summary, "weakest", summary.sandwich.weakest(_INPUTS_SHOWN))
    _inputs(console, summary, "strongest", summary.sandwich.strongest(_INPUTS_SHOWN))
    for groups in summary.groups:
        _print(console, [f"by {groups.name}"], "italic")
        first, *blocks = group_blocks(groups)
        for table in fold(first, blocks, console.width):
            console.print(_table(table))
        _print(console, worst_lines(groups))
    _print(console, [line for line in lines if line not in alarms])


def _columns(summary: Summary) -> tuple[Block, list[Block]]:
    """The column of radii, and every other column as a block of its own, so that a narrow terminal can fold them."""
    rows = [cells(summary, row) for row in summary.rows]
    first, *others = (
        Block("", [heading], [[row[place]] for row in rows]) for place, heading in enumerate(headings(summary))
    )
    return first, others


def _show_together(console: Console, together: SideBySide) -> None:
    _print(console, together.contradictions(), "bold red")
    for one in together.tables:
        _print(console, [one.about], "italic")
        for table in fold(one.first(), one.blocks(), console.width):
            console.print(_table(table))
        for name, differing in one.heads:
            console.print(_text(name, "cyan") + _text(f": {'; '.join(differing)}"))
    _print(console, together.notes())


def _spread(summary: Summary) -> list[str]:
    """Distribution of radii, and of the bounds behind them where there are any, in a line each."""
    radii = distribution_of_radii(summary.sandwich)
    named = {f"certified {summary.threat.quantity}": (radii, 4)}
    if (bounds := distribution_of_p_lower(summary.sandwich)) is not None:
        named["lower bound on the class's probability"] = (bounds, 6)
    lines = []
    for name, (found, digits) in named.items():
        if found.largest is None:
            continue
        quantiles = ", ".join(f"{100 * share:g}% {round_down(value, digits)}" for share, value in found.quantiles)
        lines.append(
            f"{name}, quantiles over the inputs: {quantiles}; largest {round_down(found.largest, digits)}, of "
            f"{percent_down(found.at_largest)} % of them"
        )
    return lines


def _inputs(console: Console, summary: Summary, which: str, layers: Sequence[Layer]) -> None:
    if not layers:
        return
    lines = [[*layer_cells(summary, one), str(one.verdict)] for one in layers]
    _print(console, [f"{which} inputs, by {summary.threat.quantity}"], "italic")
    console.print(_table([Block("", ["input", "label", "certified", "attacked", "verdict"], lines)]))


def _table(blocks: Sequence[Block]) -> Table:
    """Blocks beside each other, the title of each above its first column."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    titled = any(block.title for block in blocks)
    for block in blocks:
        for place, heading in enumerate(block.headings):
            above = "" if place else block.title
            table.add_column(_text(f"{above}\n{heading}" if titled else heading), justify="right", overflow="fold")
    for place in range(len(blocks[0].lines)):
        table.add_row(*(_text(cell) for block in blocks for cell in block.lines[place]))
    return table


def _print(console: Console, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        console.print(_text(line, style))


def _text(text: str, style: str = "") -> Text:
    """Text in a style; control characters in the text itself are replaced."""
    return Text(legible(text), style=style)
