"""Plain text as HTML that shows it, all of it."""

from __future__ import annotations

import html

from certify.core.legible import legible

__all__ = ["escape"]


def escape(text: str) -> str:
    """Text as HTML: nothing in a name is markup, nothing in it turns the text around or is invisible.

    >>> escape("<b>" + chr(0x1B)) == "&lt;b&gt;" + chr(0xFFFD)
    True
    """
    return html.escape(legible(text))
