"""Sums, products and choices of results and constants, entry by entry: how they are read."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value
from certify.bounds.rules.multiply import divide, multiply
from certify.bounds.rules.power import Power
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.rules.step import negated

__all__: list[str] = []


def _product(call: Call, first: Any, second: Any) -> Value:
    if isinstance(first, Value) and isinstance(second, Value):
        return multiply(call, first, second)
    return scaled(call, first, second) if isinstance(first, Value) else scaled(call, second, first)


def _quotient(call: Call, first: Any, second: Any) -> Value:
    if not isinstance(second, Value):
        return scaled(call, first, second, divide=True)
    if isinstance(first, Value):
        return divide(call, first, second)
    return scaled(call, call.add(Power(-1.0), second), first)


def _mixed(call: Call, mask: Any, first: Any, second: Any) -> Value:
    """``first`` where a mask of truth values holds, ``second`` elsewhere.

    One that depends on the input is 0 or 1, so that the choice is a sum of two products: exact where it is decided.
    """
    if isinstance(mask, Value):
        return combined(call, _product(call, mask, first), _product(call, negated(call, mask), second))
    parts: list[Value | Tensor] = []
    for keep, number in ((mask, first), (~mask, second)):
        if isinstance(number, Value):
            parts.append(scaled(call, number, keep))
        else:
            parts.append(torch.where(keep, torch.as_tensor(number, dtype=call.dtype), 0.0))
    return combined(call, parts[0], parts[1])


def _operands(call: Call) -> tuple[Any, Any]:
    if call.get("rounding_mode") is not None:
        raise NotCovered("division with rounding")
    other = call["other"]
    if isinstance(other, float):  # torch rounds a number to the dtype of the tensor that it meets
        other = float(torch.tensor(other, dtype=call.dtype))
    return call["self"], other


@ATEN.register("add")
def add(call: Call) -> Value:
    """A sum of two results, or of a result and a constant."""
    return combined(call, *_operands(call), alpha=call["alpha"])


@ATEN.register("sub")
@ATEN.register("subtract")
def subtract(call: Call) -> Value:
    """A difference."""
    return combined(call, *_operands(call), alpha=-call["alpha"])


@ATEN.register("rsub")
def subtract_from(call: Call) -> Value:
    """``other - alpha self``."""
    first, second = _operands(call)
    return combined(call, second, first, alpha=-call["alpha"])


@ATEN.register("mul")
@ATEN.register("multiply")
def times(call: Call) -> Value:
    """A product."""
    return _product(call, *_operands(call))


@ATEN.register("div")
@ATEN.register("divide")
@ATEN.register("true_divide")
def over(call: Call) -> Value:
    """A quotient."""
    return _quotient(call, *_operands(call))


@ATEN.register("neg")
@ATEN.register("negative")
def negate(call: Call) -> Value:
    """A change of sign."""
    return scaled(call, call["self"], -1.0)


@ATEN.register("where")
def where(call: Call) -> Value:
    """``torch.where``."""
    return _mixed(call, call["condition"], *_operands(call))


@ONNX.register("Add")
def onnx_add(call: Call) -> Value:
    """A sum."""
    return combined(call, call["A"], call["B"])


@ONNX.register("Sub")
def onnx_subtract(call: Call) -> Value:
    """A difference."""
    return combined(call, call["A"], call["B"], alpha=-1)


@ONNX.register("Mul")
def onnx_times(call: Call) -> Value:
    """A product."""
    return _product(call, call["A"], call["B"])


@ONNX.register("Div")
def onnx_over(call: Call) -> Value:
    """A quotient."""
    return _quotient(call, call["A"], call["B"])


@ONNX.register("Neg")
def onnx_negate(call: Call) -> Value:
    """A change of sign."""
    return scaled(call, call["X"], -1.0)


@ONNX.register("Sum")
def onnx_sum(call: Call) -> Value:
    """The sum of any number of results and constants."""
    return _total(call, call["data_0"])


@ONNX.register("Mean")
def onnx_mean(call: Call) -> Value:
    """Their mean."""
    return scaled(call, _total(call, call["data_0"]), len(call["data_0"]), divide=True)


def _total(call: Call, terms: list[Any]) -> Value:
    values = [term for term in terms if isinstance(term, Value)]
    return reduce(partial(combined, call), values + [term for term in terms if not isinstance(term, Value)])


@ONNX.register("Where")
def onnx_where(call: Call) -> Value:
    """A choice by a condition."""
    return _mixed(call, call["condition"], call["X"], call["Y"])
