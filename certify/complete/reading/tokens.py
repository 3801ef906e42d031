"""Evaluation of parenthesised text from the inside out; errors name line and column."""

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
    """An error in one element of a parenthesis; element 0 is its head."""

    def __init__(self, message: str, element: int = 0) -> None:
        super().__init__(message)
        self.element = element


def without_comments(text: str) -> str:
    """The text without comments (``;`` up to the line end); what remains keeps its line and column."""
    return _COMMENT.sub("", text)


def number(text: str) -> Fraction:
    """The exact value of a decimal.

    Raises:
        BadInput: if it is no decimal, or beyond every floating-point format.

    >>> number("-1.5e-1")
    Fraction(-3, 20)
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise BadInput("not a number")
    sign, whole, decimals, exponent = match.groups(default="")
    if len(exponent) > 10:  # converting it could take forever, or fail with another message
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
    """The values of the outermost parentheses, evaluated from the inside out without recursion, at any depth.

    Args:
        text: without comments.
        apply: the value of a parenthesis from its elements: text, or the values of nested parentheses.
        opaque: heads of outermost parentheses that are skipped; their value is None.

    Raises:
        BadInput: if parentheses do not match, something stands outside of them, or `apply` refuses an element;
            with line and column.
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
    """Token number `index` with its line and column, for messages."""
    match = next(match for count, match in enumerate(_TOKEN.finditer(text)) if count == index)
    start = match.start()
    return (
        f"{match[0][:40]} at line {text.count(chr(10), 0, start) + 1}, column {start - text.rfind(chr(10), 0, start)}"
    )


def _element(text: str, opened: int, element: int) -> str:
    """An element of the parenthesis opened by token number `opened`, with line and column, for messages."""
    depth, seen = 0, -1
    tokens = _TOKEN.findall(text)
    for index in range(opened + 1, len(tokens)):
        seen += depth == 0
        if seen == element:
            return _place(text, index if tokens[index] != ")" else opened)
        depth += (tokens[index] == "(") - (tokens[index] == ")")
    return _place(text, opened)
