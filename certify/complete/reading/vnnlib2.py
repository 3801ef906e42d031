"""VNN-LIB 2.0, by the parser and type checker of the library vnnlib, with exact numbers from the text that it keeps.

The library's own transformation into boxes and polytopes is not used: it rounds to float64 and refuses conditions that
relate inputs and outputs. Importing this module needs the library.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction

import vnnlib

from certify.complete.query import Declared, DeclaredTensor, PropertyFile
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
from certify.complete.reading.tokens import number
from certify.errors import BadInput, one_line

__all__ = ["read_vnnlib2"]

_SIGNS: dict[type[vnnlib.BoolExpr], str] = {
    vnnlib.LessEqual: "<=",
    vnnlib.LessThan: "<",
    vnnlib.GreaterEqual: ">=",
    vnnlib.GreaterThan: ">",
    vnnlib.Equal: "==",
    vnnlib.NotEqual: "!=",
}
_SYNTAX = re.compile(r"line (\d+), column (\d+): (.*)")
_REALS = {"Real": "real", "F32": "float32", "F64": "float64"}
_LARGEST = {"float32": Fraction(2**128 - 2**104)}
"""The largest number of an element type. float64 is left out: bounds over so large a box would overflow."""
_WHOLE = {f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def read_vnnlib2(text: str, inputs: int, outputs: int) -> PropertyFile:
    """The property in a text without comments, about a network with so many inputs and outputs.

    An input that is declared as float32 and otherwise unbounded ranges over all finite numbers of that type.

    Raises:
        BadInput: where the text is malformed, nonlinear, vacuous, unbounded, or about something else than one input
            tensor and one output tensor of one network.
    """
    try:
        parsed = vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException as refused:
        raise BadInput(_complaint(str(refused), text)) from None
    declared = _declared(parsed, inputs, outputs)
    translation = _Translation(declared)
    try:
        assertions = [translation.formula(assertion.expr) for assertion in parsed.assertions]
    except RecursionError:
        raise BadInput("a formula is nested too deeply; write (and a b c) instead of (and a (and b c))") from None
    return PropertyFile(query_of(assertions, inputs, outputs, _LARGEST.get(declared.input.type)), declared)


class _Translation:
    """Translates the library's formulas to those of :mod:`certify.complete.reading.formula`."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared

    def formula(self, expression: vnnlib.BoolExpr) -> Alternatives:
        """A Boolean expression: and, or, or a comparison."""
        match expression:
            case vnnlib.And():
                return all_of([self.formula(part) for part in expression.args])
            case vnnlib.Or():
                return any_of([self.formula(part) for part in expression.args])
            case vnnlib.Comparison() if (sign := _SIGNS.get(type(expression))) is not None:
                return compared(sign, self.sum(expression.lhs), self.sum(expression.rhs), self.declared.input.size)
        raise _unread(expression)

    def sum(self, expression: vnnlib.ArithExpr) -> Linear:
        """A linear arithmetic expression."""
        match expression:
            case vnnlib.Var():
                return Linear({self.variable(expression): 1})
            case vnnlib.Literal():
                return Linear({}, number(expression.lexeme))
            case vnnlib.Plus():
                return added(map(self.sum, expression.args))
            case vnnlib.Minus():
                return subtracted(self.sum(expression.head), *map(self.sum, expression.rest))
            case vnnlib.Negate():
                return subtracted(self.sum(expression.expr))
            case vnnlib.Multiply():
                factors = [self.sum(part) for part in expression.args]
                try:
                    return multiplied(factors)
                except BadInput as nonlinear:
                    raise BadInput(f"{str(expression)[:80]}: {nonlinear}") from None
        raise _unread(expression)

    def variable(self, element: vnnlib.Var) -> int:
        """The variable number of a tensor's element: row-major, outputs after inputs."""
        is_input = element.kind == vnnlib.SymbolKind.Input
        tensor = self.declared.input if is_input else self.declared.output
        position = 0
        for index, size in zip(element.indices, tensor.shape, strict=True):
            position = position * size + index
        return position if is_input else self.declared.input.size + position


def _unread(expression: vnnlib.BoolExpr | vnnlib.ArithExpr) -> BadInput:
    return BadInput(f"{str(expression)[:80]}: no expression of VNN-LIB 2.0 that is read")


def _declared(parsed: vnnlib.Query, inputs: int, outputs: int) -> Declared:
    """The declaration of one network with one input and one output, checked against the real network's sizes."""
    names = [network.name for network in parsed.networks]
    if len(names) != 1:
        raise BadInput(f"the property is about {len(names)} networks ({', '.join(names)}); one is read")
    (network,) = parsed.networks
    if network.hidden:
        raise BadInput(f"{network.hidden[0].name} is a hidden node; only inputs and outputs are read")
    for tensors, kind in ((network.inputs, "input"), (network.outputs, "output")):
        if len(tensors) != 1:
            raise BadInput(f"network {network.name} has {len(tensors)} {kind} tensors; one is read")
    declared = Declared(network.name, _tensor(network.inputs[0], _REALS), _tensor(network.outputs[0], _REALS | _WHOLE))
    for tensor, kind, size in ((declared.input, "inputs", inputs), (declared.output, "outputs", outputs)):
        if tensor.size != size:
            raise BadInput(f"the property declares {tensor.size} {kind} ({tensor}), and the network has {size}")
    return declared


def _tensor(definition: vnnlib.InputDefinition | vnnlib.OutputDefinition, types: dict[str, str]) -> DeclaredTensor:
    kind = definition.dtype.name
    if kind not in types:
        raise BadInput(f"{definition.name} has element type {kind}; read are {', '.join(types.values())}")
    return DeclaredTensor(definition.name, types[kind], tuple(definition.shape))


def _complaint(message: str, text: str) -> str:
    """The library's first error in one line. It reports JSON without columns, or syntax errors with columns from 0."""
    if syntax := _SYNTAX.search(message):
        return f"{syntax[3]} at line {syntax[1]}, column {int(syntax[2]) + 1}: syntax error"
    try:
        first = json.loads(message)["errors"][0]
    except ValueError:
        return one_line(ValueError(message)).removeprefix("ValueError: ")
    symbol, line = first["offendingSymbol"], first["line"]
    found = list(re.finditer(rf"(?<![^\s()]){re.escape(symbol)}(?![^\s()])", text.split("\n")[line - 1]))
    column = f", column {found[0].start() + 1}" if len(found) == 1 else ""
    return f"{symbol} at line {line}{column}: {first['message']}. {first['hint']}"
