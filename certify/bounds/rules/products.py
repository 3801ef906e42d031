"""Matrix products: how they are read, whichever side is constant."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from certify.bounds.rules.base import ATEN, ONNX, Call, MixesSamples, NotCovered, Value
from certify.bounds.rules.einsum import Einsum, along
from certify.bounds.rules.linear import Linear
from certify.bounds.rules.matmul import contract, matmul
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.scale_shift import combined, one_sample, scaled
from certify.bounds.rules.select import expanded, moved

__all__ = ["product"]


def product(call: Call, first: Any, second: Any) -> Value:
    """``first @ second``, where at least one of them is a result of the network."""
    if isinstance(first, Value) and isinstance(second, Value):
        return matmul(call, first, second)
    value, constant = (first, second) if isinstance(first, Value) else (second, first)
    left = value is second
    if constant.dim() > 2:
        constant = one_sample(call, constant, len(value.shape))
    while constant.dim() > 2 and len(constant) == 1 and constant.dim() <= len(value.shape):
        constant = constant[0]
    if len(value.shape) <= (left and call.leading):
        raise MixesSamples
    if constant.dim() > 2:
        return _heads(call, value, constant, left=left)
    # From the left a constant meets the last axis but one, from the right the last.
    axis = max(0, len(value.shape) - 1 - left)
    if constant.dim() == 2:
        return along(call, value, axis, constant if left else constant.T)
    result = along(call, value, axis, constant.unsqueeze(0))
    return call.add(Reshape((*result.shape[:axis], *result.shape[axis + 1 :])), result)


def _heads(call: Call, value: Value, constant: Tensor, *, left: bool) -> Value:
    """A constant matrix for each place on further axes, such as the heads of attention."""
    if len(value.shape) < 2:
        raise NotCovered(
            f"a product of samples of shape {value.shape} with a constant of shape {tuple(constant.shape)}"
        )
    try:
        outer = np.broadcast_shapes(value.shape[:-2], constant.shape[:-2])
    except ValueError:
        raise NotCovered(f"shapes {value.shape} and {tuple(constant.shape)} do not go together") from None
    value = expanded(call, value, (*outer, *value.shape[-2:]))
    constant = constant.expand(*outer, *constant.shape[-2:])
    heads = string.ascii_lowercase[: len(outer)]
    axes = (heads + "YX", heads + "WY", heads + "WX") if left else (heads + "XY", heads + "YW", heads + "XW")
    return call.add(Einsum(("Z" + axes[0], axes[1], "Z" + axes[2]), constant), value)


@ATEN.register("linear")
def linear(call: Call) -> Value:
    """``torch.nn.functional.linear``."""
    value, weight, bias = call["input"], call["weight"], call["bias"]
    if not isinstance(value, Value) or isinstance(weight, Value) or isinstance(bias, Value):
        raise NotCovered("its weights depend on the input")
    return call.add(Linear(weight, bias), value)


@ATEN.register("mm")
@ATEN.register("bmm")
def mm(call: Call) -> Value:
    """``torch.mm``, and ``torch.bmm`` with a matrix that all samples share."""
    return product(call, call["self"], call["mat2"])


@ATEN.register("matmul")
@ATEN.register("__matmul__")
@ATEN.register("vdot")
def torch_matmul(call: Call) -> Value:
    """``torch.matmul``."""
    return product(call, call["self"], call["other"])


@ATEN.register("mv")
def mv(call: Call) -> Value:
    """A matrix times a vector."""
    return product(call, call["self"], call["vec"])


@ATEN.register("addmm")
@ATEN.register("baddbmm")
def addmm(call: Call) -> Value:
    """``beta self + alpha first @ second``."""
    first, second = (call["mat1"], call["mat2"]) if call.target == "addmm" else (call["batch1"], call["batch2"])
    return _added(call, first, second, call["self"], call["alpha"], call["beta"])


def _added(call: Call, first: Any, second: Any, offset: Any, alpha: float, beta: float) -> Value:
    if isinstance(first, Value) and isinstance(second, Tensor) and isinstance(offset, Tensor) and alpha == beta == 1:
        outputs = second.shape[-1]
        if second.dim() == 2 and offset.shape in ((outputs,), (1, outputs)):
            return call.add(Linear(second.T, offset.reshape(outputs)), first)
    if not isinstance(first, Value) and not isinstance(second, Value):
        raise NotCovered("a product of constants")
    result = product(call, first, second)
    result = result if alpha == 1 else scaled(call, result, alpha)
    return result if offset is None else combined(call, result, offset, alpha=beta)


@ONNX.register("MatMul")
def onnx_matmul(call: Call) -> Value:
    """``numpy.matmul``."""
    return product(call, call["A"], call["B"])


@ONNX.register("Gemm")
def onnx_gemm(call: Call) -> Value:
    """``alpha A B + beta C``, with A or B transposed first."""
    first, second = (_turned(call, call[name]) if call[flag] else call[name] for name, flag in _OPERANDS)
    return _added(call, first, second, call["C"], call["alpha"], call["beta"])


_OPERANDS = (("A", "transA"), ("B", "transB"))


def _turned(call: Call, matrix: Value | Tensor) -> Value | Tensor:
    if isinstance(matrix, Tensor):
        return matrix.T
    turned = moved(call, matrix, lambda numbers: numbers.transpose(-1, -2))
    assert isinstance(turned, Value)
    return turned


def contraction(call: Call, equation: str, operands: Sequence[Value | Tensor]) -> Value:
    """An einsum of two operands, at least one of them a result of the network."""
    given, arrow, leaving = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(operands) != 2 or len(terms) != 2 or "." in equation or not arrow:
        raise NotCovered(f"the equation {equation!r} is not one of two operands with all axes named")
    batch, leaving = leaving[: call.leading], leaving[call.leading :]
    if len(batch) < call.leading:
        raise MixesSamples
    (first, one), (second, other) = (
        _of_samples(call, operand, term, batch) for operand, term in zip(operands, terms, strict=True)
    )
    if isinstance(first, Value) and isinstance(second, Value):
        return contract(call, first, second, f"{one},{other}->{leaving}")
    value, weight = (first, second) if isinstance(first, Value) else (second, first)
    entering, weights = (one, other) if isinstance(first, Value) else (other, one)
    if any(len(set(term)) != len(term) for term in (entering, weights, leaving)):
        raise NotCovered("it reads a diagonal")
    if not set(entering) <= set(weights + leaving):
        raise NotCovered("it sums over an axis that only the result has: use sum")
    sizes = dict(zip(entering, value.shape, strict=True))
    if any(sizes.get(axis, n) != n for axis, n in zip(weights, weight.shape, strict=True)):
        raise NotCovered(f"shapes {value.shape} and {tuple(weight.shape)} do not go together")
    free = next(letter for letter in string.ascii_letters if letter not in equation)
    return call.add(Einsum((free + entering, weights, free + leaving), weight), value)


def _of_samples(call: Call, operand: Value | Tensor, term: str, batch: str) -> tuple[Any, str]:
    """An operand and its axes without the batch's."""
    mine = term.startswith(batch)
    if mine and isinstance(operand, Tensor):
        return one_sample(call, operand, len(term) - len(batch)), term[len(batch) :]
    if mine:
        return operand, term[len(batch) :]
    if isinstance(operand, Value) or batch in term:
        raise MixesSamples
    return operand, term


@ATEN.register("einsum")
def einsum(call: Call) -> Value:
    """``torch.einsum`` of two operands."""
    return contraction(call, call["equation"], call["tensors"])


@ONNX.register("Einsum")
def onnx_einsum(call: Call) -> Value:
    """Einstein sums of two operands."""
    return contraction(call, call["equation"], call["Inputs"])
