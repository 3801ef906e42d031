"""Local response normalization: entries over a power of the squares around them (Krizhevsky et al. 2012)."""

from __future__ import annotations

import math
import string

import torch

from certify.bounds.rules.base import ONNX, Call, NotCovered, Value
from certify.bounds.rules.einsum import Einsum
from certify.bounds.rules.multiply import multiply
from certify.bounds.rules.power import Power
from certify.bounds.rules.scale_shift import combined, scaled

__all__: list[str] = []


@ONNX.register("LRN")
def onnx_local_response(call: Call) -> Value:
    """``X / (bias + alpha / size sum of X^2 over neighbouring channels)^beta``."""
    value, size = call["X"], call["size"]
    if len(value.shape) < 2:
        raise NotCovered("its input has no axes after the channels")
    channels, rest = value.shape[0], string.ascii_lowercase[: len(value.shape) - 1]
    window = torch.ones(channels, channels, dtype=call.dtype).tril(size // 2).triu(-((size - 1) // 2))
    start = abs(call["bias"]) * size / abs(call["alpha"]) if call["alpha"] else math.inf
    total = Einsum((f"ZX{rest}", "YX", f"ZY{rest}"), window, start)
    squares = call.add(total, call.add(Power(2.0), value))
    base = combined(call, scaled(call, squares, call["alpha"] / size), call["bias"])
    return multiply(call, value, call.add(Power(-call["beta"]), base))
