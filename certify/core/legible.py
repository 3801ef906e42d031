"""Text for people: what a name holds besides characters that show is made to show.

Names of models, data, classes and folders are written by others. An escape character in one would let it rewrite what a
terminal shows above and below it, and a bidirectional override would turn the text behind it around.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["cell", "legible", "legible_line", "many"]

_ILLEGIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters of ASCII and Latin-1; line ends are let through by legible
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    "\u2028\u2029"  # separators of lines and paragraphs
    "\ud800-\udfff]"  # halves of characters, as names of files may hold them: no encoding writes them
)
_SHOWN: Final = "\ufffd"
"""The replacement character: one column wide, so that tables stay aligned, and markup in no format."""


def legible_line(text: str) -> str:
    """One line of text, with every character that controls or does not show replaced by one that shows.

    >>> ascii(legible_line("net" + chr(0x1B) + "[31m" + chr(0x202E)))
    "'net\\\\ufffd[31m\\\\ufffd'"
    """
    return _ILLEGIBLE.sub(_SHOWN, text)


def legible(text: str) -> str:
    """The same for text of several lines, which stay lines.

    >>> legible("one\\ntwo") == "one\\ntwo"
    True
    """
    return "\n".join(map(legible_line, text.split("\n")))


def many(count: int, thing: str) -> str:
    """So many of a thing, in words.

    >>> many(1, "input"), many(2_000, "input")
    ('1 input', '2,000 inputs')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def cell(text: str) -> str:
    """A cell of a spreadsheet: one legible line, and never a formula, which would run where it is opened.

    >>> cell("=1+2"), cell("crown")
    ("'=1+2", 'crown')
    """
    line = legible_line(text)
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) or text[:1] in ("\t", "\r") else line
