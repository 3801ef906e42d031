"""A verification query in exact numbers: does some input in one of several boxes have an output of a given kind?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from certify.errors import BadInput

__all__ = ["Condition", "Declared", "DeclaredTensor", "Disjunct", "PropertyFile", "Query", "decimal_text"]

Terms = tuple[tuple[int, Fraction], ...]
"""Nonzero coefficients with their indices, in ascending order."""


def decimal_text(value: Fraction) -> str:
    """A number as a decimal without exponent; empty if it has no finite decimal expansion.

    >>> decimal_text(Fraction(-1, 8)), decimal_text(Fraction(1, 3))
    ('-0.125', '')
    """
    rest, fives = value.denominator, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest & (rest - 1):
        return ""
    places = max(rest.bit_length() - 1, fives)
    digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{'-' if value < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"


@dataclass(frozen=True, slots=True)
class Condition:
    """``sum a_i x_i + sum b_j y_j <= bound`` about one input x and its output y; ``<`` where it is strict.

    >>> Condition(x=(), y=((0, Fraction(1)), (2, Fraction(-1))), bound=Fraction(0)).holds([], [1, 5, 2])
    True
    """

    x: Terms
    y: Terms
    bound: Fraction
    strict: bool = False

    def holds(self, x: Sequence[Fraction | int], y: Sequence[Fraction | int]) -> bool:
        """Whether exact numbers satisfy it."""
        total = sum((a * x[i] for i, a in self.x), Fraction(0)) + sum((b * y[j] for j, b in self.y), Fraction(0))
        return total < self.bound if self.strict else total <= self.bound


@dataclass(frozen=True, slots=True)
class Disjunct:
    """The inputs in a box, ends included, that satisfy every condition together with their output.

    Args:
        lower, upper: the ends of the box, one exact number for each input.
        conditions: all of them must hold.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    conditions: tuple[Condition, ...]

    @property
    def empty(self) -> bool:
        """Whether the box holds no point."""
        return any(low > high for low, high in zip(self.lower, self.upper, strict=True))

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction], executed: Sequence[Fraction] | None = None) -> bool:
        """Whether an input and its output satisfy this disjunct, in exact arithmetic.

        Args:
            x: a point of the box, as it is stated.
            y: the output.
            executed: the floats that the network was executed on, if they are not exactly ``x``. Conditions must hold
                for them as well, so that rounding alone never makes one true.
        """
        inside = all(low <= v <= high for low, v, high in zip(self.lower, x, self.upper, strict=True))
        points = (x,) if executed is None else (x, executed)
        return inside and all(condition.holds(point, y) for point in points for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Query:
    """Whether any of the disjuncts has a witness: ``sat`` if so, ``unsat`` if not.

    Args:
        inputs, outputs: how many numbers the network reads and writes.
        cases: the disjuncts, without those whose box is empty.

    Raises:
        BadInput: if there are none: any answer would be vacuous.
    """

    inputs: int
    outputs: int
    cases: tuple[Disjunct, ...]

    def __post_init__(self) -> None:
        if not self.cases:
            raise BadInput("the property allows no input at all: its input box is empty, so an answer would be vacuous")

    def together(self) -> tuple[tuple[Disjunct, ...], ...]:
        """The disjuncts grouped by their box, in the order in which the boxes first appear."""
        ends: dict[tuple[Fraction, ...], int] = {}
        # Hashing thousands of fractions is slow, and disjuncts with the same box mostly share its tuples.
        seen: dict[int, int] = {}
        groups: dict[tuple[int, int], list[Disjunct]] = {}
        for case in self.cases:
            for end in (case.lower, case.upper):
                if id(end) not in seen:
                    seen[id(end)] = ends.setdefault(end, len(ends))
            groups.setdefault((seen[id(case.lower)], seen[id(case.upper)]), []).append(case)
        return tuple(map(tuple, groups.values()))


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """A tensor as VNN-LIB 2.0 declares it.

    >>> print(DeclaredTensor("X", "float32", (1, 2)))
    X float32 [1,2]
    """

    name: str
    type: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type} [{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Declared:
    """The network that a VNN-LIB 2.0 property names, with its input and its output."""

    network: str
    input: DeclaredTensor
    output: DeclaredTensor


@dataclass(frozen=True, slots=True)
class PropertyFile:
    """What a property file holds: a query, and the declarations of VNN-LIB 2.0 (None in 1.0, which has none)."""

    query: Query
    declared: Declared | None = None
