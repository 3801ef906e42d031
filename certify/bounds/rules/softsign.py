"""Softsign."""

from __future__ import annotations

from certify.bounds.rules.add import Add
from certify.bounds.rules.base import ONNX, Call, Value
from certify.bounds.rules.power import Power
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import combined, scaled

__all__: list[str] = []


@ONNX.register("Softsign")
def onnx_softsign(call: Call) -> Value:
    """``x / (1 + |x|)``, as a difference whose terms both rise: ``1 / (1 + max(-x, 0)) - 1 / (1 + max(x, 0))``."""
    value: Value = call["input"]
    sides = (call.add(ReLU(), side) for side in (scaled(call, value, -1.0), value))
    return call.add(Add(-1), *(call.add(Power(-1.0), combined(call, side, 1.0)) for side in sides))
