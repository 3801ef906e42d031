"""Variances and standard deviations over axes, made of sums and squares."""

from __future__ import annotations

import math

from certify.bounds.rules.base import ATEN, Call, NotCovered, Value
from certify.bounds.rules.power import Power
from certify.bounds.rules.reduce import reduced
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import combined, scaled

__all__: list[str] = []


@ATEN.register("var")
@ATEN.register("std")
def spread(call: Call) -> Value:
    """``torch.var`` and ``torch.std``: the mean of squared distances from the mean, corrected for what that took."""
    value, dim = call["self"], call.get("dim")
    axes = [dim] if isinstance(dim, int) else list(dim) if dim else None
    correction = call.get("correction", 1 if call.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    mean = reduced(call, value, axes, mean=True, keep=True)
    count = math.prod(value.shape) // math.prod(mean.shape)
    if not count - correction > 0:
        raise NotCovered(f"a variance of {count} numbers with a correction of {correction}")
    squares = call.add(Power(2.0), combined(call, value, mean, -1))
    found = reduced(call, squares, axes, mean=True, keep=call.get("keepdim", False))
    if correction:
        found = scaled(call, found, count / (count - correction))
    if call.target == "var":
        return found
    return call.add(Power(0.5), call.add(ReLU(), found))  # bounds of a sum may fall below 0, where no root is
