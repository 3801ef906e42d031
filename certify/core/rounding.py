"""Decimal text for radii and distances: a radius is rounded down, a distance up, and the exact value is kept as hex.

Rounding to nearest prints 0.24996 as 0.25, and the printed number then passes a test the certificate does not.

A float is read in one of two ways. A *share*, k of n inputs or a probability that somebody wrote, stands for the
shortest decimal number that is this float: 189/200 is 0.945, although its float lies a little below. A *bound* that was
computed stands for its exact value, and nothing above that is printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

from certify.errors import BadInput

__all__ = [
    "above",
    "below",
    "brief",
    "brief_up",
    "one_in",
    "percent_below",
    "percent_down",
    "percent_up",
    "round_down",
    "round_up",
    "stated_twice",
    "to_hex",
]

_WIDE = Context(prec=400)
"""Digits enough for any float."""


def above(value: Fraction) -> float:
    """The least float that is not below a fraction.

    >>> above(Fraction(1, 4)), above(Fraction(8, 255)) - 8 / 255 > 0
    (0.25, True)
    """
    near = float(value)
    return near if near >= value else math.nextafter(near, math.inf)


def below(value: Fraction) -> float:
    """The largest float that is not above a fraction.

    >>> below(Fraction(1, 4)), below(Fraction(1, 3)) <= Fraction(1, 3)
    (0.25, True)
    """
    near = float(value)
    return near if near <= value else math.nextafter(near, -math.inf)


def one_in(count: int) -> float:
    """1 / ``count``, rounded up.

    >>> one_in(2), one_in(3) > 0.3333333333333333
    (0.5, True)
    """
    return above(Fraction(1, count))


def round_down(value: float, digits: int = 4) -> str:
    """Decimal text of at most the exact value of ``value``, with ``digits`` places.

    >>> round_down(0.24996, 3)
    '0.249'
    """
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR, context=_WIDE))


def round_up(value: float, digits: int = 4) -> str:
    """Decimal text of at least the exact value of ``value``, with ``digits`` places.

    >>> round_up(0.24991, 3)
    '0.250'
    """
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING, context=_WIDE))


def brief(value: float) -> str:
    """The shortest decimal text of a number somebody wrote, at most six digits of it, and never rounded up.

    The float just above a fraction is what somebody who declared that fraction gets, so it is shown as the fraction.

    >>> brief(0.3), brief(2 / 255), brief(0.0)
    ('0.3', '0.00784313', '0')
    >>> brief(above(Fraction(8, 255))), brief(above(Fraction(51, 255))), brief(above(Fraction(1, 3)))
    ('8/255', '0.2', '1/3')
    """
    text = _six_digits(value, ROUND_FLOOR)
    return text if float(text) == value else _fraction(value) or text


def brief_up(value: float) -> str:
    """As :func:`brief`, never rounded down: for probabilities of error.

    >>> brief_up(0.001), brief_up(0.0010000049)
    ('0.001', '0.00100001')
    """
    return _six_digits(value, ROUND_CEILING)


def to_hex(value: float | None) -> str | None:
    """The exact value as a hexadecimal float, or None.

    >>> to_hex(0.1)
    '0x1.999999999999ap-4'
    """
    return None if value is None else float(value).hex()


def stated_twice(fields: Mapping[str, Any], name: str) -> float | None:
    """The exact value of a field that a record states as a number and in hex: inverse of :func:`to_hex`.

    Raises:
        BadInput: where the two are not the same.
        KeyError, OverflowError, TypeError, ValueError: where one of them is missing, or no such number.

    >>> stated_twice({"radius": 1.5, "radius_hex": "0x1.8p+0"}, "radius")
    1.5
    """
    value, text = fields[name], fields[f"{name}_hex"]
    if value != (None if text is None else float.fromhex(text)):
        raise BadInput(f"{name} {value} and {name}_hex {text} differ in one record")
    return None if value is None else float(value)


def percent_down(share: float) -> str:
    """Percent with one place, rounded down: for claims. Of k/n it is that of the fraction, not of its float.

    If 1000 k/n is whole, its shortest decimal is k/n itself; otherwise the two have no multiple of 1/1000 between them,
    for any n below 10^12.

    >>> percent_down(0.5999), percent_down(189 / 200), percent_down(1 - 1e-12)
    ('59.9', '94.5', '99.9')
    """
    return _tenths(Decimal(repr(float(share))), ROUND_FLOOR)


def percent_up(share: float) -> str:
    """As :func:`percent_down`, rounded up: for upper limits, such as accuracy under attack.

    >>> percent_up(0.5991), percent_up(7 / 1000), percent_up(1e-12)
    ('60.0', '0.7', '0.1')
    """
    return _tenths(Decimal(repr(float(share))), ROUND_CEILING)


def percent_below(bound: float) -> str:
    """Percent with one place that is at most the exact value of a computed lower bound.

    >>> percent_below(0.5999), percent_below(0.945), percent_below(-0.02)
    ('59.9', '94.4', '-2.1')
    """
    return _tenths(Decimal(bound), ROUND_FLOOR)


def _tenths(fraction: Decimal, rounding: str) -> str:
    tenths = fraction.scaleb(2, _WIDE).quantize(Decimal("0.1"), rounding=rounding, context=_WIDE)
    return str(_WIDE.plus(tenths))  # no -0.0


def _fraction(value: float) -> str | None:
    """n/d with a small d, or n/255, the steps of pixels, where the float is the one just above it."""
    if not 0 < value < 1000:
        return None
    near = [Fraction(value).limit_denominator(most).as_integer_ratio() for most in (10, 1000)]
    for top, bottom in (near[0], (round(value * 255), 255), near[1]):
        if top and above(Fraction(top, bottom)) == value:
            return f"{top}/{bottom}"
    return None


def _six_digits(value: float, rounding: str) -> str:
    return format(Context(prec=6, rounding=rounding).create_decimal(repr(float(value))).normalize(), "f")
