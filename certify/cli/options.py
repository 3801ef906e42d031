"""Options that several commands share, and ``name=value`` pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from certify.errors import BadInput

__all__ = ["Quiet", "Verbose", "pairs"]

Quiet = Annotated[bool, typer.Option("--quiet", help="no progress; warnings and errors alone on standard error")]
Verbose = Annotated[bool, typer.Option("--verbose", help="each result as it is made, on standard error")]


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """The pairs as a dictionary; values that read as numbers become numbers.

    >>> pairs("attack option", ["steps=100", "loss=margin"])
    {'steps': 100, 'loss': 'margin'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadInput(f"{option} {text!r} is not name=value, for example steps=100")
        values[name] = _value(value)
    return values


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
