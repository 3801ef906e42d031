"""Numbers and words of a policy: refused, in one line, where they cannot be meant."""

from __future__ import annotations

import math
from typing import Any, Final

from certify.core.values import number, one_of
from certify.core.written import radii_of
from certify.errors import BadInput

__all__ = ["OF", "POPULATION", "THESE", "fraction", "of_whom", "radius_of", "whose"]

THESE: Final = "these inputs"
POPULATION: Final = "population"
OF: Final = (THESE, POPULATION)
"""What a condition is about: the inputs of the run, or what they were drawn from at random."""


def of_whom(value: Any) -> str:
    """Whether a condition is about these inputs or the population."""
    return one_of("of", value, OF)


def whose(of: str) -> str:
    """How a title goes on.

    >>> whose("population")
    'of the population'
    """
    return "of the population" if of == POPULATION else f"of {of}"


def radius_of(value: Any) -> float:
    """A radius of the policy, as a run declares one: a number, or text such as ``"8/255"``.

    Raises:
        BadInput: for anything but a finite number >= 0.
    """
    radius = radii_of("radius", [value])[0]
    if not 0 <= radius < math.inf:
        raise BadInput(f"radius must be a finite number >= 0, got {radius:g}")
    return radius


def fraction(name: str, value: Any, *, least: bool) -> float:
    """A threshold that requires something: a ``least`` share in (0, 1], or a greatest one in [0, 1).

    Raises:
        BadInput: for anything else.

    >>> fraction("at_least", 60, least=True)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: at_least must be a fraction above 0 and at most 1 (60 % is 0.6), got 60
    """
    share = number(name, value)
    if not (0 < share <= 1 if least else 0 <= share < 1):
        allowed = "above 0 and at most 1 (60 % is 0.6)" if least else "of at least 0 and below 1 (5 % is 0.05)"
        raise BadInput(f"{name} must be a fraction {allowed}, got {share:g}")
    return share
