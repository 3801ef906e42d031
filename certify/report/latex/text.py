"""Plain text as LaTeX source: nothing in a name can be a command, and every name compiles with pdflatex."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["escape", "settable"]

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
}
_ACCENTED: Final = frozenset(map(chr, range(0xC0, 0x100))) - frozenset("\u00d0\u00d7\u00de\u00f0\u00f7\u00fe")
"""The letters of Latin-1 that LaTeX sets in its oldest font encoding too; four letters and two signs need another."""


def escape(text: str) -> str:
    """Text as LaTeX that prints it: special characters escaped, ``>=`` set as one sign.

    >>> escape("50% of a_b"), escape(">= (95 %)"), escape(chr(0x4E2D))
    ('50\\\\% of a\\\\_b', '$\\\\geq$ (95 \\\\%)', '[U+4E2D]')
    """
    parts = re.split(">=", settable(text))
    return r"$\geq$".join("".join(_SPECIAL.get(character, character) for character in part) for part in parts)


def settable(text: str) -> str:
    """Text on one line, of characters that pdflatex sets without further packages; others are named by code point.

    So no name stops a paper from compiling.

    >>> settable("tab\\tand " + chr(0x3B1))
    'tab and [U+03B1]'
    """
    return "".join(map(_named, " ".join(text.split())))


def _named(character: str) -> str:
    return character if " " <= character <= "~" or character in _ACCENTED else f"[U+{ord(character):04X}]"
