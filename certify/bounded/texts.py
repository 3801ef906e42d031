"""JSON, TOML and compressed text that somebody else wrote.

Whatever is wrong with a text raises a ValueError, also where it is nested too deeply, and none takes more memory than
there is to spare.
"""

from __future__ import annotations

import json
import tomllib
import zlib
from typing import Any, Final

from certify.bounded.memory import check_room, room

__all__ = ["TOO_DEEP", "from_json", "from_toml", "inflated", "strictly_from_json"]

TOO_DEEP: Final = "it is nested too deeply to be read"


def from_json(text: str | bytes, **options: Any) -> Any:
    """The value of JSON; ``options`` are those of ``json.loads``.

    Raises:
        ValueError: for other text, or text so deeply nested that no record of this package is.

    >>> from_json("[" * 10_000)
    Traceback (most recent call last):
    ...
    ValueError: it is nested too deeply to be read
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def strictly_from_json(text: str | bytes) -> Any:
    """The value of JSON that all parsers read alike: no name is repeated in an object, and all numbers are finite.

    Of two values under one name, some parsers take the first and some the last, so one text could say different things
    to different readers.

    Raises:
        ValueError: for other text.

    >>> strictly_from_json('{"payload": "ours", "payload": "theirs"}')
    Traceback (most recent call last):
    ...
    ValueError: 'payload' stands twice in one object
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")  # json would guess other encodings
    return from_json(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return named


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def from_toml(content: bytes) -> dict[str, Any]:
    """The value of TOML in UTF-8.

    Raises:
        ValueError: for other text, or text so deeply nested that no settings are.

    >>> from_toml(b"sigma = 0.25")
    {'sigma': 0.25}
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def inflated(what: str, data: bytes, factor: int = 1) -> bytes:
    """Decompress what zlib compressed, unless it takes more memory than there is to spare.

    Args:
        what: names it in the message.
        data: the compressed data, complete and with nothing after them.
        factor: bytes of memory that each decompressed byte takes when it is parsed.

    Raises:
        NoRoom: where it would take more than a quarter of the memory that is free.
        ValueError: for other data.

    >>> inflated("the text", zlib.compress(b"abc"))
    b'abc'
    """
    take = zlib.decompressobj()
    try:
        found = take.decompress(data, most := max(1, room() // factor))
        if take.unconsumed_tail:
            check_room(what, factor * (most + 1))
    except zlib.error as problem:
        raise ValueError(str(problem)) from problem
    if not take.eof or take.unused_data:
        raise ValueError("it ends early, or too late")
    return found
