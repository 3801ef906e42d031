"""Conversions between types of numbers. The exact-real network has none between floats."""

from __future__ import annotations

import torch

from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value
from certify.bounds.rules.rounded import truncated
from certify.bounds.rules.step import equal, negated

__all__: list[str] = []

LIMIT = 2.0**31
"""Larger numbers are taken to fit no integer, so that sums of many stay far from the end of 64 bits."""

FLOATS, INT64, BOOL = {1: "float32", 11: "float64"}, 7, 9
"""ONNX's codes of the types that hold every float32, and of two others."""


@ATEN.register("to")
def convert(call: Call) -> Value:
    """Between floating-point types, or from truth values to them."""
    dtype = call.get("dtype")
    value: Value = call["self"]
    if dtype == torch.bool:
        return negated(call, equal(call, value, 0.0))
    if dtype is not None and not dtype.is_floating_point:
        raise NotCovered(f"conversion to {dtype} rounds to integers: use trunc")
    return value


@ONNX.register("Cast")
def onnx_cast(call: Call) -> Value:
    """Between float32 and float64; to int64, towards zero; to truth values, where it is not 0."""
    value: Value = call["input"]
    if call["to"] == BOOL:
        return negated(call, equal(call, value, 0.0))
    if call["to"] == INT64:
        return truncated(call, value, LIMIT)
    if call["to"] not in FLOATS:
        raise NotCovered(
            f"conversion to type {call['to']} of ONNX rounds; only {' and '.join(FLOATS.values())} are covered"
        )
    return value
