"""From asserted formulas to the disjuncts of a query: boxes are intersected, empty ones dropped, equal ones shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, product
from typing import NamedTuple

from certify.complete.query import Condition, Disjunct, Query
from certify.complete.reading.formula import Alternatives, Atom, Bound, factored
from certify.errors import BadInput

__all__ = ["query_of"]

MOST_NUMBERS = 10**8
"""The most box ends in one query: about a gigabyte of references."""

Ends = list[Fraction | None]


class _Box(NamedTuple):
    """A closed box, and strict conditions that exclude its open ends."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    open_ends: tuple[Condition, ...]


def query_of(assertions: Iterable[Alternatives], inputs: int, outputs: int, largest: Fraction | None = None) -> Query:
    """The query whether some input and its output satisfy every assertion.

    Args:
        assertions: what is asked.
        inputs, outputs: how many numbers the network reads and writes.
        largest: the largest absolute value of an input; None if only the assertions bound inputs.

    Raises:
        BadInput: if an input lacks a bound, no input is allowed at all, or there are too many disjuncts.
    """
    shared, several = factored(assertions)
    return Query(inputs, outputs, tuple(_cases(shared, several, inputs, largest)))


def _cases(
    shared: tuple[Atom, ...], several: Sequence[Alternatives], inputs: int, largest: Fraction | None
) -> Iterator[Disjunct]:
    common, conditions = _parted(shared)
    least = None if largest is None else -largest
    low, high = _intersection([least] * inputs, [largest] * inputs, common)
    if _empty(low, high, common):
        return
    strict = [bound for bound in common if bound.strict]
    boxes: dict[tuple[Bound, ...], _Box | None] = {}
    for choice in product(*several):
        bounds, further = _parted(chain.from_iterable(choice))
        if bounds not in boxes:
            boxes[bounds] = _box(low, high, bounds, strict)
            if 2 * inputs * len(boxes) > MOST_NUMBERS:
                raise BadInput(f"more than {len(boxes) - 1:,} boxes of {inputs:,} inputs each; split the property")
        if (box := boxes[bounds]) is not None:
            yield Disjunct(box.lower, box.upper, (*conditions, *further, *box.open_ends))


def _parted(atoms: Iterable[Atom]) -> tuple[tuple[Bound, ...], tuple[Condition, ...]]:
    """Atoms sorted into bounds on one input and other conditions."""
    bounds: list[Bound] = []
    conditions: list[Condition] = []
    for atom in atoms:
        if isinstance(atom, Bound):
            bounds.append(atom)
        else:
            conditions.append(atom)
    return tuple(bounds), tuple(conditions)


def _intersection(low: Ends, high: Ends, bounds: Iterable[Bound]) -> tuple[Ends, Ends]:
    """The intersection of a closed box with bounds; None stands for an end without bound so far."""
    low, high = low.copy(), high.copy()
    for i, upper, value, _ in bounds:
        if upper:
            if (known := high[i]) is None or value < known:
                high[i] = value
        elif (known := low[i]) is None or value > known:
            low[i] = value
    return low, high


def _empty(low: Ends, high: Ends, bounds: Iterable[Bound]) -> bool:
    """Whether no value is left for some input that occurs in `bounds`; other inputs were checked before."""
    for i in {bound.input for bound in bounds}:
        a, b = low[i], high[i]
        if a is not None and b is not None and a > b:
            return True
    return any(_excludes_all(low, high, bound) for bound in bounds if bound.strict)


def _excludes_all(low: Ends, high: Ends, bound: Bound) -> bool:
    """Whether a strict bound leaves nothing of a closed interval."""
    end = low[bound.input] if bound.upper else high[bound.input]
    return end is not None and (end >= bound.value if bound.upper else end <= bound.value)


def _box(low: Ends, high: Ends, bounds: tuple[Bound, ...], strict: list[Bound]) -> _Box | None:
    """The intersection of a common box, with strict bounds `strict`, and `bounds`; None if it is empty."""
    if bounds:
        low, high = _intersection(low, high, bounds)
        if _empty(low, high, (*strict, *bounds)):
            return None
    lower, upper = _known(low, "lower"), _known(high, "upper")
    ends = [bound for bound in (*strict, *bounds) if bound.strict]
    return _Box(lower, upper, tuple(_open_end(bound) for bound in ends if _at_end(bound, lower, upper)))


def _known(ends: Ends, side: str) -> tuple[Fraction, ...]:
    known = tuple(end for end in ends if end is not None)
    if len(known) < len(ends):
        raise BadInput(f"X_{ends.index(None)} has no {side} bound; every input needs a lower and an upper one")
    return known


def _at_end(bound: Bound, lower: tuple[Fraction, ...], upper: tuple[Fraction, ...]) -> bool:
    """Whether the number that a strict bound excludes is an end of the box; if not, the box itself excludes it."""
    return (upper if bound.upper else lower)[bound.input] == bound.value


def _open_end(bound: Bound) -> Condition:
    sign = 1 if bound.upper else -1
    return Condition(x=((bound.input, Fraction(sign)),), y=(), bound=sign * bound.value, strict=True)
