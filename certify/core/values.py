"""Numbers that somebody gave: of Python, numpy or a config file, exactly as meant or refused."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

from certify.core.input_box import InputBox
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["finite", "first_difference", "number", "one_of", "plain", "whole"]


def number(name: str, value: Any) -> float:
    """A real number as a Python float, whatever its own precision; further arithmetic is then in float64.

    Raises:
        BadInput: in one line with ``name``, for anything else: text, None, a bool, an array.

    >>> import numpy as np
    >>> type(number("sigma", np.float32(0.25))).__name__, number("alpha", 1)
    ('float', 1.0)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadInput(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise BadInput(f"{name} is too large: {str(value)[:20]}..") from None


def finite(name: str, value: Any) -> float:
    """A finite number as a Python float.

    Raises:
        BadInput: in one line with ``name``, for NaN, infinity, and as :func:`number`.

    >>> finite("middle", 1)
    1.0
    """
    if not math.isfinite(found := number(name, value)):
        raise BadInput(f"{name} must be a finite number, got {found}")
    return found


def whole(name: str, value: Any) -> int:
    """A whole number as a Python int.

    Raises:
        BadInput: in one line with ``name``, for anything else, 1.0 and True included.

    >>> import numpy as np
    >>> whole("n", np.int64(1000))
    1000
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise BadInput(f"{name} must be a whole number, got {value!r}") from None


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """A word out of a few.

    Raises:
        BadInput: naming the words that are known, and the nearest.

    >>> one_of("schedule", "fixd", ("declared", "fixed"))
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: unknown schedule 'fixd'; did you mean 'fixed'? known: declared, fixed
    """
    words = list(known)
    if not isinstance(value, str) or value not in words:
        hint = nearest(value, words) if isinstance(value, str) else ";"
        raise BadInput(f"unknown {name} {value!r}{hint} known: {', '.join(words)}")
    return value


def plain(value: Any) -> Any:
    """A dataclass, and what it holds, as dictionaries and tuples: ``asdict`` without a copy of every leaf.

    >>> from certify.core.guarantee import Guarantee
    >>> plain((Guarantee.probabilistic(0.001), {"n": [1]}))
    ({'kind': 'probabilistic', 'alpha': 0.001}, {'n': [1]})
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, InputBox):
        return value.to_json()
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    return value


def first_difference(one: Any, other: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first thing in which two descriptions by plain values differ: what it is called, and both values.

    Tuples equal lists, which is what JSON makes of them. None where nothing differs.

    >>> first_difference({"recipe": {"epochs": 3}}, {"recipe": {"epochs": 4}})
    ('epochs of recipe', 3, 4)
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in (*one, *(key for key in other if key not in one)):
            inner = f"{key} of {name}" if name else str(key)
            if (found := first_difference(one.get(key), other.get(key), inner)) is not None:
                return found
        return None
    same = json.dumps(one, default=str) == json.dumps(other, default=str)
    return None if same else (name, one, other)
