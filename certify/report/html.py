"""Format ``html``: a fragment for notebooks; and the tables and escaped text that every fragment is made of."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from certify.core.groups import Groups
from certify.core.legible import legible
from certify.core.shown import VIEWS
from certify.core.summary import FORMATS, Summary
from certify.report.blocks import Block
from certify.report.summary_table import cells, closing, group_blocks, headings, worst_lines

__all__ = ["blocks", "escape", "groups", "paragraphs", "render", "table"]


def escape(text: str) -> str:
    """Text as HTML: nothing in a name is markup, nothing in it turns the text around or is invisible.

    >>> escape("<b>" + chr(0x1B)) == "&lt;b&gt;" + chr(0xFFFD)
    True
    """
    return html.escape(legible(text))


def table(lines: Iterable[Sequence[str]]) -> str:
    """A table of plain texts; the first line names the columns."""
    head, *body = lines
    return _table(_row(head, 'th scope="col"'), body)


def blocks(first: Block, others: Sequence[Block]) -> str:
    """Blocks side by side as one table, however wide: their titles above the names of the columns."""
    whole = [first, *others]
    titles = "".join(f'<th scope="colgroup" colspan="{len(one.headings)}">{escape(one.title)}</th>' for one in others)
    names = _row((cell for block in whole for cell in block.headings), 'th scope="col"')
    body = [[cell for block in whole for cell in block.lines[place]] for place in range(len(first.lines))]
    return _table(f'<tr><td colspan="{len(first.headings)}"></td>{titles}</tr>{names}', body)


def paragraphs(texts: Iterable[str]) -> str:
    """Each text in a paragraph of its own."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


@VIEWS.register("groups.html")
def groups(groups: Groups) -> str:
    """The table by group, the worst groups, and what the bounds mean."""
    first, *others = group_blocks(groups)
    return blocks(first, others) + paragraphs(worst_lines(groups))


@FORMATS.register("html")
def render(summary: Summary) -> str:
    """Head, table and statement as an HTML fragment without scripts or styles of its own."""
    head = "<br>".join(f"<b>{escape(name)}</b> {escape(text)}" for name, text in summary.head.items())
    rows = table([headings(summary), *(cells(summary, row) for row in summary.rows)])
    return f"<div><p>{head}</p>{rows}{paragraphs(closing(summary))}{''.join(map(groups, summary.groups))}</div>"


def _table(head: str, body: Iterable[Sequence[str]]) -> str:
    return f"<table><thead>{head}</thead><tbody>{''.join(_row(line, 'td') for line in body)}</tbody></table>"


def _row(texts: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag[:2]}>" for text in texts) + "</tr>"
