"""Norms over axes, made of powers and sums."""

from __future__ import annotations

from certify.bounds.rules.absolute import Absolute
from certify.bounds.rules.base import ONNX, Call, Value
from certify.bounds.rules.power import Power
from certify.bounds.rules.reduce import onnx_axes, reduced
from certify.bounds.rules.relu import ReLU

__all__: list[str] = []


@ONNX.register("ReduceL1")
@ONNX.register("ReduceL2")
@ONNX.register("ReduceSumSquare")
def onnx_norm(call: Call) -> Value:
    """The sum of sizes, the root of the sum of squares, and that sum."""
    value, axes = call["data"], onnx_axes(call)
    terms = call.add(Absolute() if call.target == "ReduceL1" else Power(2.0), value)
    total = terms if axes == [] else reduced(call, terms, axes, mean=False, keep=bool(call["keepdims"]))
    if call.target != "ReduceL2":
        return total
    return call.add(Power(0.5), call.add(ReLU(), total))  # bounds of a sum may fall below 0, where no root is
