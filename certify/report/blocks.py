"""Plain text of a fixed width: wrapped sentences, aligned cells, and wide tables folded below each other.

A wide table is made of blocks: columns under one title. As many blocks as fit stand side by side, the rest below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["WIDTH", "Block", "aligned", "blocks_text", "fold", "labelled", "wrapped"]

WIDTH: Final = 110
"""Characters in a line of text: what fits a terminal, a log and an e-mail."""

_GAP: Final = "  "
"""Between two columns."""


def wrapped(texts: Iterable[str], indent: int = 0, width: int = WIDTH) -> list[str]:
    """Each text as lines of at most ``width`` characters; all but its first line are indented."""
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent=" " * indent)]


def labelled(texts: Mapping[str, str]) -> list[str]:
    """Names in a column to the left, and beside each name its text, wrapped."""
    return wrapped((f"{name:<10} {text}" for name, text in texts.items()), indent=11)


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text, right-aligned in columns; a rule below the first."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    first, *rest = [_GAP.join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [first, _GAP.join("-" * width for width in widths), *rest]


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that belong together under one title.

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
        """Characters of each column; the last one is widened until the title fits above the block."""
        widths = [max(map(len, column)) for column in zip(self.headings, *self.lines, strict=True)]
        widths[-1] += max(0, len(self.title) - sum(widths) - len(_GAP) * (len(widths) - 1))
        return widths

    @property
    def width(self) -> int:
        """Characters in one line of the block."""
        return sum(self.widths) + len(_GAP) * (len(self.headings) - 1)

    def within(self, width: int) -> list[Block]:
        """The block itself if it fits into ``width`` characters; otherwise its columns one by one, each titled."""
        if self.width <= width:
            return [self]
        columns = zip(self.headings, *self.lines, strict=True)
        return [Block(self.title, [heading], [[cell] for cell in cells]) for heading, *cells in columns]


def fold(first: Block, blocks: Sequence[Block], width: int) -> list[list[Block]]:
    """Divide blocks among tables of at most ``width`` characters, each of ``first`` and at least one more.

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
    """The folded tables as lines of plain text, with an empty line between two tables."""
    text: list[str] = []
    for table in fold(first, blocks, width):
        text += [""] * bool(text)
        text.append(_GAP.join(block.title.center(block.width) for block in table).rstrip())
        text.append(_GAP.join(_line(block, block.headings) for block in table))
        text.append(_GAP.join(_line(block, ["-" * width for width in block.widths]) for block in table))
        for place in range(len(first.lines)):
            text.append(_GAP.join(_line(block, block.lines[place]) for block in table))
    return text


def _line(block: Block, cells: Iterable[str]) -> str:
    return _GAP.join(cell.rjust(width) for cell, width in zip(cells, block.widths, strict=True))
