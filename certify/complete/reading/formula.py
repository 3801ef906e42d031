"""Formulas over a network's inputs and outputs: linear sums, comparisons of sums, and disjunctive normal form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain, product
from typing import NamedTuple

from certify.complete.query import Condition
from certify.errors import BadInput

__all__ = [
    "TRUE",
    "Alternatives",
    "Atom",
    "Bound",
    "Linear",
    "added",
    "all_of",
    "any_of",
    "compared",
    "factored",
    "multiplied",
    "subtracted",
]

MOST_CASES = 10**6
"""The most disjuncts that a conjunction may have when it is multiplied out."""

Exact = Fraction | int


class Linear(NamedTuple):
    """A constant plus multiples of variables: variable i is ``X_i`` for i < inputs, the outputs come after."""

    terms: dict[int, Exact]
    constant: Exact = 0


class Bound(NamedTuple):
    """A bound on one input: ``x_i <= value`` if `upper`, else ``x_i >= value``; ``<`` or ``>`` if strict."""

    input: int
    upper: bool
    value: Fraction
    strict: bool


Atom = Bound | Condition

Alternatives = Sequence[tuple[Atom, ...]]
"""A formula as a disjunction of conjunctions of atoms: no conjunction is false, an empty conjunction is true."""

TRUE: Alternatives = ((),)


def added(sums: Iterable[Linear]) -> Linear:
    """The sum of sums."""
    terms: dict[int, Exact] = {}
    constant: Exact = 0
    for one in sums:
        constant += one.constant
        for variable, factor in one.terms.items():
            terms[variable] = terms.get(variable, 0) + factor
    return Linear(terms, constant)


def subtracted(first: Linear, *others: Linear) -> Linear:
    """The first less all others; a single one is negated, as in ``(- x)``."""
    if not others:
        return _scaled(first, -1)
    return added((first, _scaled(added(others), -1)))


def multiplied(factors: Iterable[Linear]) -> Linear:
    """The product.

    Raises:
        BadInput: if two factors contain variables.
    """
    result = Linear({}, 1)
    for factor in factors:
        if factor.terms and result.terms:
            raise BadInput("a product of variables; only linear expressions are read")
        result = _scaled(factor, result.constant) if factor.terms else _scaled(result, factor.constant)
    return result


def compared(sign: str, left: Linear, right: Linear, inputs: int) -> Alternatives:
    """A comparison; ``!=`` has two alternatives, ``=`` (or ``==``) two atoms."""
    if sign in {"=", "=="}:
        return all_of([compared("<=", left, right, inputs), compared(">=", left, right, inputs)])
    if sign == "!=":
        return (*compared("<", left, right, inputs), *compared(">", left, right, inputs))
    if sign[0] == ">":
        left, right = right, left
    terms, bound = _difference(left, right)
    return _at_most(terms, bound, len(sign) == 1, inputs)


def factored(parts: Iterable[Alternatives]) -> tuple[tuple[Atom, ...], list[Alternatives]]:
    """The atoms that all alternatives of a conjunction share, and the disjunctions left to multiply out.

    Raises:
        BadInput: if multiplying out gives more than a million disjuncts.
    """
    parts = list(parts)
    shared = tuple(chain.from_iterable(part[0] for part in parts if len(part) == 1))
    several = [part for part in parts if len(part) != 1]
    if (count := math.prod(map(len, several))) > MOST_CASES:
        raise BadInput(
            f"{count:.2g} cases when multiplied out, and at most {MOST_CASES:,} are read; split the property"
        )
    return shared, several


def all_of(parts: Iterable[Alternatives]) -> Alternatives:
    """The conjunction of formulas.

    Raises:
        BadInput: if multiplying out gives more than a million disjuncts.
    """
    shared, several = factored(parts)
    return [(*shared, *chain.from_iterable(choice)) for choice in product(*several)]


def any_of(parts: Iterable[Alternatives]) -> Alternatives:
    """The disjunction of formulas."""
    return [alternative for part in parts for alternative in part]


def _scaled(one: Linear, factor: Exact) -> Linear:
    return Linear({variable: value * factor for variable, value in one.terms.items()}, one.constant * factor)


def _difference(left: Linear, right: Linear) -> tuple[dict[int, Exact], Exact]:
    """Terms t and bound b with ``left <= right`` exactly where ``t <= b``; most atoms need no arithmetic for that."""
    terms = dict(left.terms)
    for variable, factor in right.terms.items():
        terms[variable] = terms[variable] - factor if variable in terms else -factor
    return terms, right.constant - left.constant if left.constant else right.constant


def _at_most(terms: dict[int, Exact], bound: Exact, strict: bool, inputs: int) -> Alternatives:
    """The sum of terms is at most (or less than) `bound`, as one atom or as a constant."""
    present = terms if all(terms.values()) else {variable: factor for variable, factor in terms.items() if factor}
    if not present:
        return TRUE if (bound > 0 if strict else bound >= 0) else ()
    if len(present) == 1 and (variable := next(iter(present))) < inputs:
        factor = present[variable]
        value = bound if factor == 1 else Fraction(bound) / factor
        return ((Bound(variable, factor > 0, Fraction(value), strict),),)
    whole = math.lcm(*(factor.denominator for factor in present.values()))
    ordered = [(variable, Fraction(factor * whole)) for variable, factor in sorted(present.items())]
    condition = Condition(
        x=tuple(term for term in ordered if term[0] < inputs),
        y=tuple((variable - inputs, factor) for variable, factor in ordered if variable >= inputs),
        bound=Fraction(bound) if whole == 1 else Fraction(bound * whole),
        strict=strict,
    )
    return ((condition,),)
