"""Constants that a network computes from others: evaluated by its own runtime, with bounds of the rounding error.

A stored number is exact. A computed one differs between exact arithmetic and float32, and with the order of summation.
So it is kept with its error, which follows from the same rules as bounds, and a layer that reads it gets an additional
term that is only known to be small (:class:`~certify.bounds.rules.within.Within`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from certify.bounds.agreement import enclosure
from certify.bounds.graph import Graph
from certify.bounds.importers.batch_axis import BATCHED
from certify.bounds.importers.builder import Builder
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.absolute import Absolute
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import Call, NotCovered, Value
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.rules.select import Select
from certify.bounds.rules.within import Within
from certify.bounds.tensors import Interval

__all__ = [
    "CHOICES",
    "MOVERS",
    "Inexact",
    "computes",
    "enclosed",
    "exact",
    "flat",
    "lost",
    "moved_error",
    "plain",
    "read_inexact",
    "replaced",
]

Build = Callable[..., Value]
Read = Callable[[Mapping[str, Any]], Any]
"""Reads one call by its rule, given its arguments."""


@dataclass(frozen=True, slots=True, eq=False)
class Inexact:
    """A computed constant.

    Args:
        value: as the network's own runtime computes it.
        error: how far the exact number may be from ``value``; float64.
        times: by what factor other executions may be farther off; infinite if nothing is known about executions.
    """

    value: Tensor
    error: Tensor
    times: float = 1.0


MOVERS = frozenset(
    "Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND Split Concat Expand "
    "Tile DepthToSpace SpaceToDepth Compress ReverseSequence Neg Dropout view reshape flatten unflatten squeeze "
    "unsqueeze alias detach detach_ contiguous clone lift_fresh lift_fresh_copy expand expand_as broadcast_to permute "
    "transpose t mT numpy_T select slice narrow _unsafe_view view_as reshape_as movedim moveaxis swapaxes swapdims "
    "flip roll rot90 index index_select gather take_along_dim diagonal repeat tile repeat_interleave unfold tril triu "
    "split split_with_sizes chunk tensor_split unsafe_split unsafe_chunk unbind hsplit vsplit dsplit getitem cat "
    "concat concatenate stack neg negative embedding dropout feature_dropout".split()
)
"""Operators of ONNX and torch that only move numbers or change their sign, and do the same to their errors."""

CHOICES = frozenset(
    "Where Pad Constant ConstantOfShape EyeLike OneHot ScatterND ScatterElements Scatter Trilu Abs Relu Max Min Clip "
    "ReduceMax ReduceMin MaxPool GlobalMaxPool TopK Floor Ceil Round Sign Hardmax "
    "where pad constant_pad_nd abs relu clamp clamp_min clamp_max maximum minimum amax amin max min floor ceil round "
    "trunc sign zeros ones full eye zeros_like ones_like full_like new_zeros new_ones new_full masked_fill "
    "scatter index_put one_hot scalar_tensor fill copy zero tril_indices triu_indices hardtanh relu6".split()
)
"""Operators whose results are exact: numbers from their arguments, or whole numbers."""

UNWRITTEN = frozenset("empty empty_like empty_permuted empty_strided new_empty new_empty_strided".split())
"""Operators of torch that return uninitialized memory."""

SUMS = frozenset("Add Sub Sum ReduceSum CumSum Range add sub rsub sum cumsum arange".split())
"""Operators that are exact on small whole numbers, in any order of summation."""

ACCURATE = {"DequantizeLinear": 3, "Cast": 2, "CastLike": 2, "to": 2, "_to_copy": 2, "type_as": 2}
"""Operators without a rule that only round, this many times."""


def computes(settings: Mapping[str, Any]) -> bool:
    """Whether the settings of an operator in CHOICES make it compute, and so round.

    Scattered numbers may be added up at one place, and rounding to decimals multiplies and divides.

    >>> computes({"accumulate": True}), computes({"decimals": 1}), computes({"reduction": "none"})
    (True, True, False)
    """
    words = (settings.get("reduce"), settings.get("reduction"))
    return any(map(bool, (settings.get("accumulate"), settings.get("decimals")))) or any(
        word not in (None, "none") for word in words
    )


def exact(name: str, inputs: Sequence[Tensor], result: Tensor) -> bool:
    """Whether the result of an operator on exact numbers is exact, in every execution."""
    if result.is_complex():
        return False
    if not result.is_floating_point() or name in MOVERS or name in CHOICES:
        return True
    values, found = [one.double() for one in inputs], result.double()
    if name in ("Cast", "CastLike", "to", "_to_copy", "type_as"):
        # Rounding a known number gives the same in every execution, as if that were stored. Only numbers too small for
        # the type may or may not be flushed to zero.
        least = torch.finfo(result.dtype).tiny
        return bool(((found == values[0]) | (found.abs() >= least)).all())
    if name == "linspace":  # few binary digits and equal steps: exact however it is computed
        few = bool(((found * 1024 == (found * 1024).round()) & (found.abs() < 1024)).all())
        return few and bool((found.diff().diff() == 0).all())
    if name in SUMS and all(bool((one == one.round()).all()) for one in values):
        size = sum(float(one.abs().sum()) for one in values) + float(found.abs().max() if found.numel() else 0)
        return size < 2 / torch.finfo(result.dtype).eps  # up to here the type represents all whole numbers
    if result.dtype != torch.float32 or not bool(found.isfinite().all()):
        return False
    if len(values) == 1 and name in ("Sqrt", "sqrt"):
        return bool((found * found == values[0]).all())
    if len(values) != 2:
        return False
    first, second = values
    if name in ("Mul", "mul", "multiply"):  # a product of two float32 has 48 bits
        return bool((first * second == found).all())
    if name in ("Div", "div", "divide", "true_divide"):
        return bool((found * second == first).all())
    if name in ("Add", "add", "Sub", "sub"):
        second = second if name in ("Add", "add") else -second
        total = first + second
        part = total - first
        lost = (first - (total - part)) + (second - part)
        return bool(((total == found) & (lost == 0)).all())
    return False


def enclosed(
    name: str, rule: Callable[[Call], Any] | None, arguments: Mapping[str, Any], result: Tensor, opset: int = 0
) -> Inexact:
    """A computed constant with its error, by applying the operator's rule to its arguments and their errors.

    Args:
        name: the operator's name.
        rule: its import rule; None if there is none.
        arguments: tensors and :class:`Inexact` among others.
        result: the first result, as computed by the runtime.
        opset: version of ONNX's operators, 0 for torch.

    Raises:
        NotCovered: if no rule says how it is rounded, or rule and runtime disagree.
    """
    given = {key: value for key, value in flat(arguments) if _rounded(value)}
    inexact = [key for key, value in given.items() if isinstance(value, Inexact)]
    if (terms := ACCURATE.get(name)) and not inexact:
        return Inexact(result, 1.1 * terms * unit(result.dtype) * result.double().abs() + smallest(result.dtype))
    known = max((given[key].times for key in inexact), default=1.0) < math.inf
    for keys in dict.fromkeys([tuple(inexact), *([] if inexact else [(key,) for key in given]), tuple(given)]):
        graph = _graph(name, rule, arguments, keys, result, opset)
        if graph is None:
            continue
        value = result.double()
        box = _image(graph, [given[key] for key in keys], result, executed=False)
        error = torch.maximum(box.upper - value, value - box.lower).clamp(min=0) * (1 + 1e-6)
        if not known:
            return Inexact(result, error, math.inf)
        box = _image(graph, [given[key] for key in keys], result, executed=True)
        if not bool(((box.lower <= value) & (value <= box.upper)).all()):
            raise NotCovered("our rule and its runtime disagree about this constant: please report it")
        most = torch.maximum(box.upper - value, value - box.lower) * (1 + 1e-6)
        if any(node.operator.kind in UNCOVERED for node in graph.nodes):
            return Inexact(result, error, math.inf)
        error = torch.maximum(error, most / FINER)  # a value may be exact by luck
        return Inexact(result, error, float(torch.where(most > 0, most / error, 1.0).max()) if most.numel() else 1.0)
    raise NotCovered(
        "it is computed from constants and rounded, which no rule covers; compute it once and store its result in the "
        "model"
    )


UNCOVERED = frozenset({"center", "differences", "log_sum_exp"})
"""Kinds of operators about whose executions nothing is claimed; a test compares this with what they state."""

FINER = 1024
"""The error of a value is taken to be at least that of other executions divided by this: it may be small by luck."""


def _graph(
    name: str, rule: Any, arguments: Mapping[str, Any], keys: Sequence[str], result: Tensor, opset: int
) -> Graph | None:
    """A call on constants as a graph, whose input are the constants under ``keys``; None if no rule reads it."""
    if rule is None or not keys or any(isinstance(v, Inexact) for k, v in flat(arguments) if k not in keys):
        return None
    values = {key: plain(value) for key, value in flat(arguments) if key in keys}
    leading = int(name in BATCHED)
    if leading and len(values) > 1:
        return None
    builder = Builder(result.dtype, result.device)
    build, at, given = builder.adder(name, ""), 0, {}
    if leading:
        [(key, value)] = values.items()
        given[key] = begin = builder.begin("constants", tuple(value.shape[1:]))
    else:
        begin = builder.begin("constants", (sum(value.numel() for value in values.values()),), 0)
        for key, value in values.items():
            index = torch.arange(at, at + value.numel()).reshape(value.shape)
            given[key] = build(Select(index, begin.shape), (begin,))
            at += value.numel()
    shape = tuple(result.shape[leading:])
    try:
        made = rule(Call(name, replaced(arguments, given), result.dtype, shape, build, opset, leading))
    except (NotCovered, RuntimeError, IndexError, TypeError, ValueError, AttributeError):
        return None  # rules are written for results of a network, and may fail in any way on constants
    first = made if isinstance(made, (Value, Tensor)) else made[0]
    if not isinstance(first, Value) or first.shape != shape:
        return None
    if first == begin:
        first = build(Reshape(first.shape), (first,))
    return builder.graph(first).to(torch.float64)


def _image(graph: Graph, constants: Sequence[Any], result: Tensor, *, executed: bool) -> Interval:
    """The box of a call on constants: of its exact result, or also of every execution."""
    ends: list[list[Tensor]] = [[], []]
    for one in constants:
        center = plain(one).detach().double().flatten()
        error = one.error.flatten() * (one.times if executed else 1.0) if isinstance(one, Inexact) else 0 * center
        ends[0].append(torch.where(error == 0, center, center - error))
        ends[1].append(torch.where(error == 0, center, center + error))
    lower, upper = (torch.cat(end).reshape(-1, *graph.shape) for end in ends)
    with torch.no_grad():
        box = enclosure(graph, Interval(lower, upper), result.dtype if executed else None)
    return Interval(box.lower.reshape(result.shape), box.upper.reshape(result.shape))


JOINT = frozenset("add sub subtract rsub cat concat concatenate stack where Add Sub Sum Mean Concat Where".split())
"""Sums and choices, which are linear in all their arguments together."""

PRODUCTS = frozenset(
    "mul multiply linear mm bmm mv matmul __matmul__ addmm baddbmm einsum conv1d conv2d conv3d conv_transpose1d "
    "conv_transpose2d conv_transpose3d Mul MatMul Gemm Einsum Conv ConvTranspose".split()
)
"""Products, which are linear in each of their two factors."""


def read_inexact(name: str, read: Read, arguments: Mapping[str, Any], build: Build) -> Any:
    """Read a call that has computed constants among its arguments: with their values, plus a term for their errors.

    Raises:
        NotCovered: if the operator is no sum or product, and its rule needs constants.
    """
    inexact = [value for _, value in flat(arguments) if isinstance(value, Inexact)]
    divided = name in ("div", "divide", "true_divide", "Div") and not isinstance(_second(arguments), Value)
    known = (name in JOINT or name in PRODUCTS or divided) and not isinstance(arguments.get("condition"), Value)
    if not known:
        return _as_result(read, arguments, build)
    result = read(replaced(arguments, {key: plain(value) for key, value in flat(arguments)}))
    [whole] = result if isinstance(result, list) else [result]

    def lacking(key: str, value: Any) -> Any:
        if isinstance(value, Value):
            if name in JOINT:
                zero = torch.zeros((), dtype=torch.float64)
                return build(ScaleShift(zero), (value,))
            return build(Absolute(), (value,))
        if isinstance(value, Inexact):
            if not divided:
                return _upward(value.error, value.value.dtype)
            size = value.value.double().abs()
            if not bool((size > value.error * min(value.times, FINER)).all()):
                raise NotCovered("it divides by a computed constant that may be 0")
            # |1/c - 1/v| is at most r / (|v| (|v| - r)), and the reciprocal of that is divided by.
            return size * (size - value.error * min(value.times, FINER)) / value.error * (1 - 1e-6)
        if isinstance(value, Tensor) and value.is_floating_point():
            return torch.zeros_like(value)
        return abs(value) if key in ("alpha", "beta") else value

    most = read(replaced(arguments, {key: lacking(key, value) for key, value in flat(arguments)}))
    most = most[0] if isinstance(most, list) else most
    part = build(Within(max(one.times for one in inexact)), (most,))
    joined = build(Add(), (whole, part))
    return [joined] if isinstance(result, list) else joined


def _as_result(read: Read, arguments: Mapping[str, Any], build: Build) -> Any:
    """Read a call with its computed constants turned into results of the network."""
    like = next(value for _, value in flat(arguments) if isinstance(value, Value))

    def one(value: Any) -> Any:
        if not isinstance(value, Inexact):
            return value
        number, error = value.value, _upward(value.error, value.value.dtype)
        if number.dim() > len(like.shape) and len(number) == 1:
            number, error = number[0], error[0]
        zero = build(Select(torch.full(number.shape, -1), like.shape), (like,))
        part = build(Within(value.times), (build(ScaleShift(shift=error), (zero,)),))
        return build(Add(), (build(ScaleShift(shift=number), (zero,)), part))

    try:
        return read(replaced(arguments, {key: one(value) for key, value in flat(arguments)}))
    except (RuntimeError, TypeError, AttributeError) as problem:
        raise NotCovered(
            "it reads a constant that is computed and rounded; store its value in the model instead"
        ) from problem


def moved_error(errors: Any) -> Tensor:
    """Errors after a move or a change of sign."""
    return torch.as_tensor(errors).double().abs()


def lost(value: Any) -> Any:
    """The error of an argument: that of a computed constant, 0 for any other number."""
    if isinstance(value, Inexact):
        return _upward(value.error, value.value.dtype)
    return torch.zeros_like(value) if _rounded(value) else value


def plain(value: Any) -> Any:
    """An argument without its error."""
    return value.value if isinstance(value, Inexact) else value


def _second(arguments: Mapping[str, Any]) -> Any:
    return arguments.get("other", arguments.get("B"))


def _upward(error: Tensor, dtype: torch.dtype) -> Tensor:
    """An error in the network's own type, rounded up."""
    return (error * (1 + 4 * unit(dtype)) + (error > 0) * smallest(dtype)).to(dtype)


def _rounded(value: Any) -> bool:
    return isinstance(value, Inexact) or (isinstance(value, Tensor) and value.is_floating_point())


def flat(arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """All arguments one by one, entries of lists as ``"name.place"``."""
    return [
        (f"{key}.{place}" if isinstance(value, (list, tuple)) else key, entry)
        for key, value in arguments.items()
        for place, entry in enumerate(value if isinstance(value, (list, tuple)) else [value])
    ]


def replaced(arguments: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with some replaced, named as by :func:`flat`."""

    def one(key: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)([changed.get(f"{key}.{place}", entry) for place, entry in enumerate(value)])
        return changed.get(key, value)

    return {key: one(key, value) for key, value in arguments.items()}
