"""Maxima and minima of several results, of results and constants, and over axes: how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from certify.bounds.rules.base import ATEN, ONNX, Call, MixesSamples, NotCovered, Value
from certify.bounds.rules.maximum import Maximum
from certify.bounds.rules.reduce import onnx_axes
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import combined
from certify.bounds.rules.select import expanded, unstacked

__all__ = ["extreme", "over_axes"]

GROUP = 16
"""Inputs of one operator; more of them become a tree."""

SIGN = {"max": 1, "maximum": 1, "fmax": 1, "amax": 1, "min": -1, "minimum": -1, "fmin": -1, "amin": -1}


def extreme(call: Call, values: Sequence[Value], sign: int) -> Value:
    """The largest (sign 1) or smallest (-1) of several results of one shape."""
    values = list(values)
    while len(values) > 1:
        groups = [values[i : i + GROUP] for i in range(0, len(values), GROUP)]
        values = [call.add(Maximum(sign), *group) if len(group) > 1 else group[0] for group in groups]
    return values[0]


def _of_several(call: Call, parts: Sequence[Any], sign: int) -> Value:
    """The extreme of results and constants whose shapes broadcast."""
    values = [part for part in parts if isinstance(part, Value)]
    try:
        shape = np.broadcast_shapes(*(value.shape for value in values))
    except ValueError:
        raise NotCovered("its inputs have shapes " + " and ".join(str(value.shape) for value in values)) from None
    found = extreme(call, [expanded(call, value, shape) for value in values], sign)

    def limited(value: Value, constant: Any) -> Value:
        """``max(x, c) = c + relu(x - c)`` and ``min(x, c) = c - relu(c - x)``."""
        above = combined(call, value, constant, -1) if sign > 0 else combined(call, constant, value, -1)
        return combined(call, constant, call.add(ReLU(), above), sign)

    return reduce(limited, (part for part in parts if not isinstance(part, Value)), found)


def over_axes(call: Call, value: Value, axes: Sequence[int] | None, sign: int, *, keep: bool) -> Value:
    """The extreme over the source's own axes; None for all of them."""
    if axes is None:
        if call.leading:
            raise MixesSamples
        axes = range(len(value.shape))
    found = sorted({call.axis(int(axis), value) for axis in axes})
    return extreme(call, unstacked(call, value, found, keep=keep), sign)


@ATEN.register("maximum")
@ATEN.register("minimum")
@ATEN.register("fmax")
@ATEN.register("fmin")
def of_two(call: Call) -> Value:
    """``torch.maximum`` and ``torch.minimum``."""
    return _of_several(call, [call["self"], call["other"]], SIGN[call.target])


@ATEN.register("amax")
@ATEN.register("amin")
def torch_over_axes(call: Call) -> Value:
    """``torch.amax`` and ``torch.amin``."""
    return over_axes(call, call["self"], call["dim"] or None, SIGN[call.target], keep=call["keepdim"])


@ATEN.register("max")
@ATEN.register("min")
def of_two_or_over_axis(call: Call) -> Value | list[Value]:
    """``torch.max`` and ``torch.min`` in all their forms. Over an axis, the values are all that can be used."""
    sign = SIGN[call.target]
    if "other" in call.arguments:
        return _of_several(call, [call["self"], call["other"]], sign)
    if "dim" not in call.arguments:
        return over_axes(call, call["self"], None, sign, keep=False)
    return [over_axes(call, call["self"], [call["dim"]], sign, keep=call["keepdim"])]


@ONNX.register("Max")
@ONNX.register("Min")
def onnx_of_several(call: Call) -> Value:
    """The extreme of any number of results and constants."""
    return _of_several(call, call["data_0"], SIGN[call.target.lower()])


@ONNX.register("ReduceMax")
@ONNX.register("ReduceMin")
def onnx_over_axes(call: Call) -> Value:
    """The extreme over axes."""
    value: Value = call["data"]
    if (axes := onnx_axes(call)) == []:
        return value
    sign = SIGN[call.target.removeprefix("Reduce").lower()]
    return over_axes(call, value, axes, sign, keep=bool(call["keepdims"]))
