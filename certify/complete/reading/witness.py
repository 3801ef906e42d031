"""Witnesses as text: decimals that round to the executed floats and, taken exactly, lie inside the box."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from certify.complete.query import Declared, Disjunct, decimal_text
from certify.complete.reading.tokens import evaluate, number
from certify.errors import BadInput

__all__ = ["read_witness", "witness_text"]

_NAME = re.compile(r"([XY])_(0|[1-9]\d{0,17})", re.ASCII)
_HEADER = re.compile(r"\w+ \w+ \[((?:\d{1,18}(?:,\d{1,18})*)?)\]", re.ASCII)


def witness_text(x: npt.NDArray[Any], y: npt.NDArray[Any], case: Disjunct, declared: Declared | None = None) -> str:
    """The text that states a witness.

    Every number reads back to the same float of its array's type. Outputs are written as the shortest such decimal, and
    so are inputs if that decimal lies inside the box. Otherwise, and if the disjunct has conditions on inputs, the
    exact value of the float is written in full. No number has an exponent.

    Args:
        x, y: input and output, of any shape, numbered row-major.
        case: the disjunct that x is a witness of; its box must contain x exactly. If an interval of the box contains no
            float, such as an input fixed at 0.3, its nearer end is written, provided that it rounds to x.
        declared: for the format of VNN-LIB 2.0, a header for each tensor and then a number a line; None for that of
            VNN-LIB 1.0, ``((X_0 v) ... (Y_0 v) ...)``.

    Raises:
        BadInput: if x is outside of the box, or an output is not finite.

    >>> zero, one = Fraction(0), Fraction(1)
    >>> print(witness_text(np.float32([0.1, 1]), np.float32([2.5]), Disjunct((zero, zero), (one, one), ())))
    ((X_0 0.1)
     (X_1 1.0)
     (Y_0 2.5))
    """
    x, y = x.reshape(-1), y.reshape(-1)
    shortest = not any(condition.x for condition in case.conditions)
    inside = [
        _inside(value, low, high, i, shortest)
        for i, (value, low, high) in enumerate(zip(x, case.lower, case.upper, strict=True))
    ]
    if not np.isfinite(y).all():
        raise BadInput("the output at the witness is not finite")
    outside = list(map(_shortest, y))
    if declared is not None:
        return "\n".join([str(declared.input), *inside, str(declared.output), *outside])
    pairs = [
        f"({letter}_{i} {text})" for letter, texts in (("X", inside), ("Y", outside)) for i, text in enumerate(texts)
    ]
    return "(" + "\n ".join(pairs) + ")"


def read_witness(text: str) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """The exact input and output in a text of either format.

    Raises:
        BadInput: if it has neither format, or if numbers are missing, stated twice, or too many for a tensor's shape.

    >>> read_witness("((X_0 0.5) (Y_0 -1))")
    ((Fraction(1, 2),), (Fraction(-1, 1),))
    """
    return _read_pairs(text) if text.lstrip().startswith("(") else _read_tensors(text.split("\n"))


def _inside(value: np.generic, low: Fraction, high: Fraction, i: int, shortest: bool) -> str:
    """An input as a decimal between two numbers; if no float lies between them, the nearer one, which rounds to it."""
    exact = Decimal(value.item())
    if not exact.is_finite():
        raise BadInput(f"X_{i} = {exact} is outside of the box of the property")
    if low <= Fraction(exact) <= high:
        text = _shortest(value)
        return text if shortest and low <= number(text) <= high else f"{exact:f}"
    end, inward = (low, np.inf) if Fraction(exact) < low else (high, -np.inf)
    room = low <= Fraction(np.nextafter(value, type(value)(inward)).item()) <= high
    text = decimal_text(end)
    if text and not room and type(value)(float(text)) == value:
        return text
    raise BadInput(f"X_{i} = {exact:.9g} is outside of the box of the property")


def _shortest(value: np.generic) -> str:
    """The shortest decimal without exponent that reads back to the same number, also via float64."""
    if not isinstance(value, np.floating):
        return str(value)
    text = np.format_float_positional(value, unique=True, trim="0")
    return text if type(value)(float(text)) == value else f"{Decimal(value.item()):f}"


def _read_pairs(text: str) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    found: dict[str, dict[int, Fraction]] = {"X": {}, "Y": {}}

    def apply(elements: Sequence[Any]) -> None:
        match elements:
            case [str(name), str(value)] if parts := _NAME.fullmatch(name):
                if int(parts[2]) in found[parts[1]]:
                    raise BadInput(f"the witness states {name} twice")
                found[parts[1]][int(parts[2])] = number(value)
            case _ if any(isinstance(element, str) for element in elements):
                raise BadInput("a witness consists of (X_i value) and (Y_j value)")

    evaluate(text, apply)
    return _in_order("X", found["X"]), _in_order("Y", found["Y"])


def _in_order(letter: str, values: dict[int, Fraction]) -> tuple[Fraction, ...]:
    for i in range(len(values)):
        if i not in values:
            raise BadInput(f"the witness has no {letter}_{i}")
    return tuple(values[i] for i in range(len(values)))


def _read_tensors(lines: Iterable[str]) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    tensors: list[list[Fraction]] = []
    sizes: list[int] = []
    for line in filter(None, map(str.strip, lines)):
        if header := _HEADER.fullmatch(line):
            tensors.append([])
            sizes.append(math.prod(int(size) for size in header[1].split(",") if size))
        elif tensors:
            tensors[-1].append(number(line))
        else:
            raise BadInput("a witness begins with (X_0 value) or with a tensor's name, type and shape")
    if len(tensors) != 2:
        raise BadInput(f"a witness states an input and an output, not {len(tensors)} tensors")
    for numbers, size in zip(tensors, sizes, strict=True):
        if len(numbers) != size:
            raise BadInput(f"a tensor of the witness has {len(numbers)} numbers, and its shape {size}")
    return tuple(tensors[0]), tuple(tensors[1])
