"""Plain text as HTML that shows it, all of it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from certify.core.legible import legible

__all__ = ["escape", "html_table"]


def escape(text: str) -> str:
    """Text as HTML: nothing in a name is markup, nothing in it turns the text around or is invisible.

    >>> escape("<b>" + chr(0x1B)) == "&lt;b&gt;" + chr(0xFFFD)
    True
    """
    return html.escape(legible(text))


def html_table(lines: Sequence[Sequence[str]]) -> str:
    """A table of plain texts; the first line names the columns."""
    head, *body = lines
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table>"
