"""Plain text as GitHub-flavoured Markdown: nothing in a name can format, link, mention or break out of its cell."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Final

from certify.core.legible import legible_line

__all__ = ["details", "escape", "table"]

_SPECIAL: Final = re.compile(r"[\\`*_\[\]<|~$&]")
_LINKED: Final = re.compile(
    r"(?<=[@#])(?=\w)|(?<=\bhttp)(?=://)|(?<=\bhttps)(?=://)|(?<=\bftp)(?=://)|(?<=\bwww)(?=\.)"
)
"""Where a mention, the number of an issue or an address would become a link: a comment in between stops that."""
_FIRST: Final = re.compile(r"^(\d*)([-+=>#.)])")
"""What makes a list, a heading or a quotation at the beginning of a line."""


def escape(text: str) -> str:
    """Text as Markdown that shows it, on one line and also at the beginning of one.

    >>> print(escape("- a|b <c> @team *d*"))
    \\- a\\|b \\<c> @<!-- -->team \\*d\\*
    """
    return _FIRST.sub(r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    joined = _LINKED.sub("\n", _shown(text))  # no other line break is left
    return _SPECIAL.sub(lambda found: "\\" + found[0], joined).replace("\n", "<!-- -->")


def _shown(text: str) -> str:
    return legible_line(" ".join(text.split()))


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], *, words: int = 0) -> str:
    """A table of plain texts; the first columns hold ``words``, the others numbers, which are aligned to the right."""
    rule = [":--" if place < words else "--:" for place in range(len(headings))]
    rows = [list(map(_inline, headings)), rule, *(list(map(_inline, line)) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def details(title: str, body: str) -> str:
    """A part that is folded until somebody opens it; the title is plain text, the body Markdown."""
    # A line that begins with a tag is HTML as a whole: there a backslash would be shown.
    shown = "<!-- -->".join(html.escape(part) for part in _LINKED.split(_shown(title)))
    return f"<details><summary>{shown}</summary>\n\n{body}\n\n</details>"
