"""Parenthesised text evaluated from the inside out, with the line and column of whatever is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container
from fractions import Fraction
from typing import Any

from certify.errors import BadInput

__all__ = ["Misplaced", "evaluate", "number", "without_comments"]

_COMMENT = re.compile(r";[^\r\n]*")
_TOKEN = re.compile(r"[()]|[^\s()]+")
_NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?", re.ASCII)
_LARGEST_EXPONENT = 5000


class Misplaced(BadInput):
    """Something is wrong with one element of a parenthesis: 0 is its head."""

    def __init__(self, message: str, element: int = 0) -> None:
        super().__init__(message)
        self.element = element


def without_comments(text: str) -> str:
    """The text without ``; ...`` up to line ends: what remains keeps its line and column."""
    return _COMMENT.sub("", text)


def number(text: str) -> Fraction:
    """The exact value of a decimal.

    Raises:
        BadInput: if it is none, or is beyond any floating-point format.

    >>> number("-1.5e-1")
    Fraction(-3, 20)
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise BadInput("not a number")
    sign, whole, decimals, exponent = match.groups(default="")
    if len(exponent) > 10:  # as a number it could take forever, or be refused in other words
        raise BadInput("beyond every floating-point format")
    power = int(exponent or 0) - len(decimals)
    if abs(power) > _LARGEST_EXPONENT or len(whole) + len(decimals) > _LARGEST_EXPONENT // 2:
        raise BadInput("beyond every floating-point format")
    digits = int(sign + whole + decimals)
    value = Fraction(digits, 10**-power) if power < 0 else Fraction(digits * 10**power)
    if abs(value) > sys.float_info.max:
        raise BadInput("beyond every floating-point format")
    return value


def evaluate(text: str, apply: Callable[[list[Any]], Any], opaque: Container[str] = ()) -> list[Any]:
    """The values of the outermost parentheses, each computed once those inside it are known.

    No recursion: nesting of any depth is read.

    Args:
        text: without comments.
        apply: value of a parenthesis, from its elements: text where they are plain, values where they were nested.
        opaque: heads of outermost parentheses whose content means nothing; their value is None.

    Raises:
        BadInput: where parentheses do not match or something stands outside of them, and whatever `apply`
            refuses; all with line and column.
    """
    values: list[Any] = []
    frame = values
    outer: list[tuple[int, list[Any]]] = []
    skipped = 0
    tokens = _TOKEN.findall(text)
    for here, token in enumerate(tokens):
        if skipped:
            skipped += (token == "(") - (token == ")")
            if skipped == 0:
                values.append(None)
        elif token == "(" and not outer and here + 1 < len(tokens) and tokens[here + 1] in opaque:
            skipped, begun = 1, here
        elif token == "(":
            outer.append((here, frame))
            frame = []
        elif token == ")":
            if not outer:
                raise BadInput(f"{_place(text, here)}: no parenthesis is open here; remove it")
            opened, enclosing = outer.pop()
            try:
                enclosing.append(apply(frame))
            except BadInput as wrong:
                raise BadInput(f"{_element(text, opened, getattr(wrong, 'element', 0))}: {wrong}") from None
            frame = enclosing
        elif outer:
            frame.append(token)
        else:
            raise BadInput(f"{_place(text, here)}: outside of any parenthesis")
    if skipped:
        raise BadInput(f"{_place(text, begun)}: this parenthesis is never closed")
    if outer:
        raise BadInput(f"{_place(text, outer[-1][0])}: this parenthesis is never closed")
    return values


def _place(text: str, index: int) -> str:
    """Token number `index` as messages name it."""
    match = next(match for count, match in enumerate(_TOKEN.finditer(text)) if count == index)
    start = match.start()
    return (
        f"{match[0][:40]} at line {text.count(chr(10), 0, start) + 1}, column {start - text.rfind(chr(10), 0, start)}"
    )


def _element(text: str, opened: int, element: int) -> str:
    """The element of the parenthesis that token number `opened` opens, as messages name it."""
    depth, seen = 0, -1
    tokens = _TOKEN.findall(text)
    for index in range(opened + 1, len(tokens)):
        seen += depth == 0
        if seen == element:
            return _place(text, index if tokens[index] != ")" else opened)
        depth += (tokens[index] == "(") - (tokens[index] == ")")
    return _place(text, opened)
