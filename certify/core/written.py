"""Numbers as people write them: decimals, fractions such as 8/255, and lists of them with commas."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

from certify.core.rounding import above
from certify.errors import BadInput

__all__ = ["decimal", "numbers", "radii_of", "radius_of"]

_DECIMAL: Final = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE][-+]?[0-9]+)?")
_TERM: Final = re.compile(r"[-+]?[0-9]{1,30}(?:\.[0-9]{0,30})?", re.ASCII)
"""Numerator or denominator: without an exponent, because exact arithmetic on 1e-99999999/7 would take for ever."""


def decimal(text: str) -> float:
    """The number in plain decimal text, or of a fraction of two; ValueError for other text, and where no float is near.

    >>> decimal("0.25"), decimal(" 1e-3"), decimal("8/16")
    (0.25, 0.001, 0.5)
    """
    top, slash, bottom = text.partition("/")
    if slash:
        return float(_ratio(text, top, bottom))
    plain = _DECIMAL.fullmatch(text.strip())
    value = float(text) if plain else math.nan
    vanished = plain is not None and value == 0 and plain[1].strip("+-0.")
    if not math.isfinite(value) or vanished:
        raise ValueError(text)
    return value


def numbers(key: str, value: Any) -> tuple[float, ...]:
    """Numbers from a list or from text with commas; ``key`` is what a message calls them.

    Raises:
        BadInput: for anything else.
    """
    try:
        return tuple(_real(part) for part in (value.split(",") if isinstance(value, str) else value))
    except (OverflowError, TypeError, ValueError) as problem:
        raise BadInput(f"{key} must be numbers separated by commas, for example 0,0.25,0.5, got {value!r}") from problem


def radius_of(value: Any) -> float:
    """The float that is proven where somebody declares a radius.

    A fraction is exact, and seldom a float: the next float *above* it is taken, so that a ball of that radius holds the
    ball that was written. Decimals are the float that is nearest, as in Python: 0.1 is 0.1.

    Raises:
        TypeError, ValueError: for what is no number.

    >>> radius_of("8/255") > 8 / 255, radius_of("8/255") - 8 / 255 < 1e-17
    (True, True)
    >>> radius_of("0.25"), radius_of(0.25), radius_of("1/4")
    (0.25, 0.25, 0.25)
    """
    if isinstance(value, str):
        top, slash, bottom = value.partition("/")
        return above(_ratio(value, top, bottom)) if slash else decimal(value)
    return above(value) if isinstance(value, Fraction) else float(value)


def radii_of(key: str, value: Any) -> tuple[float, ...]:
    """Declared radii from a list or from text with commas, each as :func:`radius_of` reads it.

    Raises:
        BadInput: for anything else; ``key`` is what the message calls them.

    >>> radii_of("radii", "0,1/4") == radii_of("radii", [0, 0.25])
    True
    """
    try:
        parts = value.split(",") if isinstance(value, str) else list(value)
        if any(isinstance(part, bool) for part in parts):
            raise TypeError(value)
        return tuple(radius_of(part) for part in parts)
    except (OverflowError, TypeError, ValueError) as problem:
        raise BadInput(
            f"{key} must be numbers separated by commas, for example 0,0.25,0.5 or 2/255,8/255, got {value!r}"
        ) from problem


def _ratio(text: str, top: str, bottom: str) -> Fraction:
    if not (_TERM.fullmatch(top.strip()) and _TERM.fullmatch(bottom.strip()) and Fraction(bottom.strip())):
        raise ValueError(text)
    return Fraction(top.strip()) / Fraction(bottom.strip())


def _real(part: Any) -> float:
    if isinstance(part, bool):
        raise TypeError(part)
    return decimal(part) if isinstance(part, str) else float(part)
