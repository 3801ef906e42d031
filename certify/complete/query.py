"""A question about a network in exact numbers: has an input in one of some boxes an output of this kind?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from certify.errors import BadInput

__all__ = ["Condition", "Declared", "DeclaredTensor", "Disjunct", "PropertyFile", "Query", "decimal_text"]

Terms = tuple[tuple[int, Fraction], ...]
"""Coefficients by index, ascending, none of them 0."""


def decimal_text(value: Fraction) -> str:
    """A number in full, without exponent; empty where its decimals have no end.

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
        lower, upper: the box, one exact number for each input.
        conditions: all of them have to hold.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    conditions: tuple[Condition, ...]

    @property
    def empty(self) -> bool:
        """Whether the box holds no point."""
        return any(low > high for low, high in zip(self.lower, self.upper, strict=True))

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction], executed: Sequence[Fraction] | None = None) -> bool:
        """Whether input and output are of this case, in exact arithmetic.

        Args:
            x: a point of the box, as it is stated.
            y: the output.
            executed: the floats that ``y`` is the output at, where they are not ``x`` itself. Conditions have to hold
                for them as well: how a number rounds must not make them true.
        """
        inside = all(low <= v <= high for low, v, high in zip(self.lower, x, self.upper, strict=True))
        points = (x,) if executed is None else (x, executed)
        return inside and all(condition.holds(point, y) for point in points for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Query:
    """The question whether any case has a witness: ``sat`` if so, ``unsat`` if not.

    Args:
        inputs, outputs: how many numbers the network reads and writes.
        cases: alternatives. Those whose box is empty have been left out.

    Raises:
        BadInput: without cases: nothing was asked, and an answer would be about nothing.
    """

    inputs: int
    outputs: int
    cases: tuple[Disjunct, ...]

    def __post_init__(self) -> None:
        if not self.cases:
            raise BadInput("the property allows no input at all: its input box is empty, so an answer would be vacuous")

    def together(self) -> tuple[tuple[Disjunct, ...], ...]:
        """The cases of one box together, boxes in the order in which they first appear."""
        ends: dict[tuple[Fraction, ...], int] = {}
        # Hashing thousands of fractions is slow, and cases of one box mostly share its ends.
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
    """A query, and the declaration it came with: None in VNN-LIB 1.0, which names neither network nor tensors."""

    query: Query
    declared: Declared | None = None
