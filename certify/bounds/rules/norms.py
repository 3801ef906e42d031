"""Norms, cosines, variances and standard deviations, made of powers and sums over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from certify.bounds.rules.absolute import Absolute
from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.extremes import over_axes
from certify.bounds.rules.multiply import divide, multiply
from certify.bounds.rules.power import Power
from certify.bounds.rules.reduce import onnx_axes, reduced
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import combined, scaled

__all__: list[str] = []


def _norm(call: Call, value: Value, order: float, axes: Sequence[int] | None, *, keep: bool) -> Value:
    """The ``order``-norm over the source's own axes; no axes for each entry by itself, None for all of them."""
    if order == math.inf:
        return over_axes(call, call.add(Absolute(), value), axes, 1, keep=keep)
    if not 1 <= order < math.inf:
        raise NotCovered(f"a norm of order {order}")
    size = value if order == 2 else call.add(Absolute(), value)
    terms = size if order == 1 else call.add(Power(float(order)), size)
    total = terms if axes == [] else reduced(call, terms, axes, mean=False, keep=keep)
    if order == 1:
        return total
    return call.add(Power(1 / order), call.add(ReLU(), total))  # bounds of a sum may fall below 0, where no root is


@ATEN.register("linalg_vector_norm")
def vector_norm(call: Call) -> Value:
    """``torch.linalg.vector_norm``, which most norms of torch are traced to."""
    dim = call["dim"]
    axes = [dim] if isinstance(dim, int) else list(dim) if dim is not None else None
    return _norm(call, call["self"], float(call["ord"]), axes, keep=call["keepdim"])


@ATEN.register("linalg_norm")
def linalg_norm(call: Call) -> Value:
    """``torch.linalg.norm`` of vectors."""
    dim = call["dim"]
    if dim is None or len(dim) != 1:
        raise NotCovered("a norm of matrices")
    order = call.get("ord")
    return _norm(call, call["self"], 2.0 if order is None else float(order), list(dim), keep=call["keepdim"])


@ATEN.register("cosine_similarity")
def cosine_similarity(call: Call) -> Value:
    """``torch.nn.functional.cosine_similarity``: a sum of products, each factor over its norm or ``eps``."""
    first, second = call["x1"], call["x2"]
    # A constant is a result that does not move: then its norm is rounded as any other.
    first, second = _moving(call, first, second), _moving(call, second, first)
    directions = []
    for value in (first, second):
        size = call.add(Clip(call["eps"], math.inf), _norm(call, value, 2.0, [call["dim"]], keep=True))
        directions.append(divide(call, value, size))
    return reduced(call, multiply(call, *directions), [call["dim"]], mean=False, keep=False)


def _moving(call: Call, one: Any, other: Any) -> Value:
    return combined(call, scaled(call, other, 0.0), one) if isinstance(one, Tensor) else one


@ONNX.register("ReduceL1")
@ONNX.register("ReduceL2")
@ONNX.register("ReduceSumSquare")
def onnx_norm(call: Call) -> Value:
    """The sum of sizes, the root of the sum of squares, and that sum."""
    value, axes, keep = call["data"], onnx_axes(call), bool(call["keepdims"])
    if call.target == "ReduceSumSquare":
        squares = call.add(Power(2.0), value)
        return squares if axes == [] else reduced(call, squares, axes, mean=False, keep=keep)
    return _norm(call, value, 1.0 if call.target == "ReduceL1" else 2.0, axes, keep=keep)


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
