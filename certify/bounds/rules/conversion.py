"""Conversions between types of numbers, and results of integer types. Between floats, nothing changes exact reals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, Move, NotCovered, Shape, Value
from certify.bounds.rules.rounded import truncated
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.rules.step import equal, negated
from certify.bounds.tensors import Interval

__all__ = ["Integer"]


@RULES.register("integer")
@dataclass(frozen=True, slots=True, eq=False)
class Integer(Move):
    """``y = x`` of an integer type. Nothing holds on boxes that it does not hold: there, executions wrap around.

    Args:
        signed: whether half of the numbers are negative.
        bits: of the type.
    """

    kind: ClassVar[str] = "integer"
    separable: ClassVar[bool] = True
    signed: bool
    bits: int

    @classmethod
    def of(cls, dtype: torch.dtype) -> Integer:
        """For a type of torch."""
        return cls(dtype.is_signed, torch.iinfo(dtype).bits)

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """Where a box reaches beyond the least or the largest number of the type."""
        [box] = boxes
        least, end = (-(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1)) if self.signed else (0.0, 2.0**self.bits)
        return (box.lower < least) | (box.upper >= end)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The same numbers."""
        return inputs[0]

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The same rows."""
        return (A,)

    @staticmethod
    def example() -> Example:
        """How many entries of two lines are large."""
        lower = torch.tensor([[[-1.0, 0.5, 0.0], [0.3, 0.2, 1.0]]])
        return Example(Applied(lambda x: (x > 0.25).sum(2) + x[:, :, 0]), lower, lower + 0.5)


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
