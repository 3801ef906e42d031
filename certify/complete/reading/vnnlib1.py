"""VNN-LIB 1.0: declared reals X_i and Y_j, and asserted formulas over them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from certify.complete.query import Query
from certify.complete.reading.cases import query_of
from certify.complete.reading.formula import (
    Alternatives,
    Linear,
    added,
    all_of,
    any_of,
    compared,
    multiplied,
    subtracted,
)
from certify.complete.reading.tokens import Misplaced, evaluate, number
from certify.core.legible import many
from certify.errors import BadInput

__all__ = ["read_vnnlib1"]

_COMPARISONS = frozenset({"<=", ">=", "<", ">", "="})
_IGNORED = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "vnnlib-version"})
_VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,17})", re.ASCII)


def read_vnnlib1(text: str, inputs: int, outputs: int) -> Query:
    """The query in a text without comments, about a network with so many inputs and outputs.

    Raises:
        BadInput: where the text is malformed, nonlinear, vacuous, unbounded, or about another network.
    """
    reader = _Reader(inputs, outputs)
    if any(value is not None for value in evaluate(text, reader.apply, _IGNORED)):
        raise BadInput("a formula stands outside of any command; write (assert ...) around it")
    reader.check_declared()
    return query_of(reader.assertions, inputs, outputs)


class _Reader:
    """Collects declarations and assertions, and evaluates parentheses."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.sizes = {"X": inputs, "Y": outputs}
        self.variables: dict[str, Linear] = {}
        self.assertions: list[Alternatives] = []
        self.numbers: dict[str, Linear] = {}

    def apply(self, elements: list[Any]) -> Any:
        """The value of one parenthesis: a sum, a formula, or None for a command."""
        if not elements:
            return "()"  # the empty argument list of declare-fun
        head = elements[0]
        if head in _COMPARISONS:
            self._count(elements, 2)
            return compared(head, self._sum(elements, 1), self._sum(elements, 2), self.sizes["X"])
        match head:
            case "and":
                return all_of(self._formulas(elements))
            case "or":
                return any_of(self._formulas(elements))
            case "assert":
                self._count(elements, 1)
                self.assertions.append(self._formula(elements, 1))
            case "+" | "-" | "*":
                return self._arithmetic(elements)
            case "declare-const" | "declare-fun":
                self._declare(elements)
            case str():
                raise Misplaced("not among the commands and operators of VNN-LIB 1.0 that are read")
            case _:
                raise Misplaced("an operator is expected here")
        return None

    def check_declared(self) -> None:
        """Refuse a property that does not declare all inputs and outputs of the network.

        Raises:
            BadInput: naming both numbers.
        """
        for letter, kind in (("X", "inputs"), ("Y", "outputs")):
            declared = sum(name[0] == letter for name in self.variables)
            if declared != self.sizes[letter]:
                raise BadInput(f"the property declares {declared} {kind}, and the network has {self.sizes[letter]}")

    def _declare(self, elements: list[Any]) -> None:
        self._count(elements, 2 if elements[0] == "declare-const" else 3)
        if elements[-1] != "Real":
            raise Misplaced("only variables of type Real are read", len(elements) - 1)
        name = elements[1]
        if not isinstance(name, str) or (match := _VARIABLE.fullmatch(name)) is None:
            raise Misplaced("variables are called X_0, X_1, ... and Y_0, Y_1, ...", 1)
        if name in self.variables:
            raise Misplaced("declared before", 1)
        letter, index = match[1], int(match[2])
        if index >= self.sizes[letter]:
            raise Misplaced(self._range(letter), 1)
        self.variables[name] = Linear({index if letter == "X" else self.sizes["X"] + index: 1})

    def _arithmetic(self, elements: list[Any]) -> Linear:
        self._some(elements)
        sums = [self._sum(elements, i) for i in range(1, len(elements))]
        match elements[0]:
            case "+":
                return added(sums)
            case "-":
                return subtracted(*sums)
        return multiplied(sums)

    def _sum(self, elements: list[Any], i: int) -> Linear:
        """Element number i as a linear sum."""
        element = elements[i]
        if isinstance(element, Linear):
            return element
        if not isinstance(element, str):
            raise Misplaced("a number or an expression in X and Y is expected here", i)
        known = self.variables.get(element) or self.numbers.get(element)
        if known is None:
            known = self.numbers[element] = Linear({}, self._number(element, i))
        return known

    def _number(self, text: str, i: int) -> Fraction:
        if match := _VARIABLE.fullmatch(text):
            late = int(match[2]) < self.sizes[match[1]]
            raise Misplaced("this variable has not been declared" if late else self._range(match[1]), i)
        try:
            return number(text)
        except BadInput as wrong:
            raise Misplaced(f"no variable of the property, and {wrong}", i) from None

    def _formulas(self, elements: list[Any]) -> list[Alternatives]:
        self._some(elements)
        return [self._formula(elements, i) for i in range(1, len(elements))]

    def _formula(self, elements: list[Any], i: int) -> Alternatives:
        """Element number i as a formula."""
        element = elements[i]
        if isinstance(element, str | Linear | None):
            raise Misplaced("a comparison, (and ...) or (or ...) is expected here", i)
        return element

    def _some(self, elements: list[Any]) -> None:
        if len(elements) < 2:
            raise Misplaced("takes at least one argument")

    def _count(self, elements: list[Any], expected: int) -> None:
        if len(elements) - 1 != expected:
            raise Misplaced(f"takes {many(expected, 'argument')}, not {len(elements) - 1}")

    def _range(self, letter: str) -> str:
        kind, size = ("input" if letter == "X" else "output"), self.sizes[letter]
        named = f"{letter}_0" if size == 1 else f"{letter}_0 to {letter}_{size - 1}"
        return f"the network has {many(size, kind)}, {named}"
