"""Conversions between types of numbers. The exact-real network has none between floats."""

from __future__ import annotations

import torch

from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value
from certify.bounds.rules.rounded import truncated
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.rules.step import equal, negated

__all__: list[str] = []

FLOATS, BOOL = {1: "float32", 11: "float64"}, 9
"""ONNX's codes of the types that hold every float32, and of truth values."""

INTEGERS = {
    2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16,
    6: torch.int32, 7: torch.int64, 12: torch.uint32, 13: torch.uint64,
}  # fmt: skip
"""Its codes of integer types. Importers see to it that results stay inside their type."""


@ATEN.register("to")
def convert(call: Call) -> Value:
    """Between floating-point types; to integers, towards zero; to truth values, where it is not 0."""
    dtype = call.get("dtype")
    value: Value = call["self"]
    if dtype == torch.bool:
        return negated(call, equal(call, value, 0.0))
    if dtype is not None and not dtype.is_floating_point:
        return truncated(call, value)
    return narrowed(call, value) if dtype == torch.float32 else value


def narrowed(call: Call, value: Value) -> Value:
    """A number that may be of float64, in float32: the same number, which executions round once."""
    return call.add(ScaleShift(torch.ones(())), value) if call.dtype == torch.float64 else value


@ONNX.register("Cast")
def onnx_cast(call: Call) -> Value:
    """Between float32 and float64; to integers, towards zero; to truth values, where it is not 0."""
    value: Value = call["input"]
    if call["to"] == BOOL:
        return negated(call, equal(call, value, 0.0))
    if call["to"] in INTEGERS:
        return truncated(call, value)
    if call["to"] not in FLOATS:
        raise NotCovered(
            f"conversion to type {call['to']} of ONNX rounds; only {' and '.join(FLOATS.values())} are covered"
        )
    return narrowed(call, value) if FLOATS[call["to"]] == "float32" else value
