"""Format ``html``: a fragment for notebooks."""

from __future__ import annotations

from collections.abc import Iterable

from certify.core.summary import FORMATS, Summary
from certify.report.columns import cells, closing, headings
from certify.report.groups import groups_html
from certify.report.html_text import escape

__all__ = ["render"]


@FORMATS.register("html")
def render(summary: Summary) -> str:
    """Head, table and statement as an HTML fragment without scripts or styles of its own."""
    head = "<br>".join(f"<b>{escape(name)}</b> {escape(text)}" for name, text in summary.head.items())
    rows = [_line(headings(summary), "th"), *(_line(cells(summary, row), "td") for row in summary.rows)]
    foot = "".join(f"<p>{escape(line)}</p>" for line in closing(summary))
    groups = "".join(map(groups_html, summary.groups))
    return f"<div><p>{head}</p><table>{''.join(rows)}</table>{foot}{groups}</div>"


def _line(texts: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"
