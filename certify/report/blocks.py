"""Wide tables: blocks of columns under a title each, as many side by side as a line holds, the rest below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certify.report.html_text import escape

__all__ = ["Block", "blocks_html", "blocks_text", "fold"]

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that belong together.

    Args:
        title: what they are about; empty for the block that names the lines.
        headings: one a column.
        lines: the cells, one list a line.
    """

    title: str
    headings: list[str]
    lines: list[list[str]]

    @property
    def widths(self) -> list[int]:
        """Characters of each column; the last is wide enough for the title to fit above."""
        widths = [max(map(len, column)) for column in zip(self.headings, *self.lines, strict=True)]
        widths[-1] += max(0, len(self.title) - sum(widths) - len(_GAP) * (len(widths) - 1))
        return widths

    @property
    def width(self) -> int:
        """Characters of a line of it."""
        return sum(self.widths) + len(_GAP) * (len(self.headings) - 1)

    def within(self, width: int) -> list[Block]:
        """Itself if it is at most so wide, and its columns one by one, each under the title, otherwise."""
        if self.width <= width:
            return [self]
        columns = zip(self.headings, *self.lines, strict=True)
        return [Block(self.title, [heading], [[cell] for cell in cells]) for heading, *cells in columns]


def fold(first: Block, blocks: Sequence[Block], width: int) -> list[list[Block]]:
    """The blocks in tables of at most ``width`` characters, each with ``first`` to its left and at least one more.

    >>> left, one = Block("", ["radius"], [["0.5"]]), Block("run", ["certified %"], [["61.2"]])
    >>> [len(table) for table in fold(left, [one, one, one], width=36)]
    [3, 2]
    """
    tables: list[list[Block]] = [[first]]
    for block in (part for whole in blocks for part in whole.within(width - first.width - len(_GAP))):
        so_far = sum(one.width + len(_GAP) for one in tables[-1])
        if len(tables[-1]) > 1 and so_far + block.width > width:
            tables.append([first])
        tables[-1].append(block)
    return tables


def blocks_text(first: Block, blocks: Sequence[Block], width: int) -> list[str]:
    """The tables as lines of plain text, an empty one between two."""
    text: list[str] = []
    for table in fold(first, blocks, width):
        text += [""] * bool(text)
        text.append(_GAP.join(block.title.center(block.width) for block in table).rstrip())
        text.append(_GAP.join(_line(block, block.headings) for block in table))
        text.append(_GAP.join(_line(block, ["-" * width for width in block.widths]) for block in table))
        for place in range(len(first.lines)):
            text.append(_GAP.join(_line(block, block.lines[place]) for block in table))
    return text


def blocks_html(first: Block, blocks: Sequence[Block]) -> str:
    """One HTML table, however wide, with a head of two lines."""
    table = [first, *blocks]
    titles = "".join(f'<th scope="colgroup" colspan="{len(one.headings)}">{escape(one.title)}</th>' for one in blocks)
    head = f'<tr><td colspan="{len(first.headings)}"></td>{titles}</tr>' + _row(
        (cell for block in table for cell in block.headings), 'th scope="col"'
    )
    body = [_row((cell for block in table for cell in block.lines[place]), "td") for place in range(len(first.lines))]
    return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def _line(block: Block, cells: Iterable[str]) -> str:
    return _GAP.join(cell.rjust(width) for cell, width in zip(cells, block.widths, strict=True))


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag[:2]}>" for cell in cells) + "</tr>"
