"""Max pooling: the largest of the results that each place of a window sees."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value
from certify.bounds.rules.conv import each_axis, margins
from certify.bounds.rules.extremes import extreme
from certify.bounds.rules.maximum import Maximum
from certify.bounds.rules.select import placed

__all__ = ["windows"]


def windows(count: int, window: int, stride: int, dilation: int, before: int, after: int, *, partial: bool) -> Tensor:
    """Which of ``count`` places of an axis each window sees, (outputs, window); -1 in the padding.

    Args:
        before, after: places of padding.
        partial: whether windows that stick out at the far end, but begin before it, are used too (``ceil_mode``).
    """
    reach = dilation * (window - 1) + 1
    room = count + before + after - reach
    outputs = (-(-room // stride) if partial else room // stride) + 1
    if partial and (outputs - 1) * stride >= count + before:
        outputs -= 1
    seen = torch.arange(outputs).unsqueeze(1) * stride - before + torch.arange(window) * dilation
    return torch.where((seen < 0) | (seen >= count), -1, seen)


def _pooled(call: Call, value: Value, axes: list[Tensor]) -> Value:
    """The maxima over windows of the last axes, one table of :func:`windows` each.

    Padding never wins: an entry of the window takes its place, and the operator is told that it is there twice.
    """
    if any(bool((table < 0).all(dim=1).any()) for table in axes):
        raise NotCovered("a window lies in the padding only")
    present = [table >= 0 for table in axes]
    inside = [torch.where(table < 0, table.amax(dim=1, keepdim=True), table) for table in axes]
    numbers = torch.arange(math.prod(value.shape)).reshape(value.shape)
    front = len(value.shape) - len(axes)
    inputs, repeated = [], []
    for place in itertools.product(*(range(table.shape[1]) for table in axes)):
        index, valid = numbers, torch.ones((), dtype=torch.bool)
        for axis, (k, table, mask) in enumerate(zip(place, inside, present, strict=True)):
            index = index.index_select(front + axis, table[:, k])
            valid = valid.unsqueeze(-1) & mask[:, k]
        inputs.append(placed(call, value, index))
        repeated.append(~valid.expand(index.shape))
    if not any(bool(mask.any()) for mask in repeated):
        return extreme(call, inputs, 1)
    return call.add(Maximum(repeated=torch.stack(repeated)), *inputs)


@ATEN.register("max_pool1d")
@ATEN.register("max_pool2d")
@ATEN.register("max_pool3d")
def max_pool(call: Call) -> Value:
    """``torch.nn.functional.max_pool2d`` and its kin."""
    count = int(call.target[-2])
    window = each_axis(call["kernel_size"], count)
    stride = each_axis(call["stride"], count) if call["stride"] else window
    padding, dilation = each_axis(call["padding"], count, 0), each_axis(call["dilation"], count)
    value = call["self"]
    sizes = zip(value.shape[-count:], window, stride, dilation, padding, padding, strict=True)
    return _pooled(call, value, [windows(*size, partial=call["ceil_mode"]) for size in sizes])


@ATEN.register("adaptive_max_pool1d")
@ATEN.register("adaptive_max_pool2d")
@ATEN.register("adaptive_max_pool3d")
def adaptive_max_pool(call: Call) -> list[Value]:
    """Windows that share an axis: output i sees the places from ``floor(i n / m)`` up to ``ceil((i + 1) n / m)``."""
    value, size = call["self"], each_axis(call["output_size"], int(call.target[-2]))
    return [_pooled(call, value, [_shared(n, m) for n, m in zip(value.shape[-len(size) :], size, strict=True)])]


def _shared(count: int, outputs: int) -> Tensor:
    begins = [i * count // outputs for i in range(outputs)]
    ends = [-(-(i + 1) * count // outputs) for i in range(outputs)]
    widest = max(end - begin for begin, end in zip(begins, ends, strict=True))
    seen = torch.tensor(begins).unsqueeze(1) + torch.arange(widest)
    return torch.where(seen < torch.tensor(ends).unsqueeze(1), seen, -1)


@ONNX.register("MaxPool")
def onnx_max_pool(call: Call) -> list[Value]:
    """Pooling over the axes after the channels."""
    value, window = call["X"], tuple(call["kernel_shape"])
    count = len(window)
    stride, dilation = each_axis(call["strides"], count), each_axis(call.get("dilations"), count)
    extent = tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))
    before, after = margins(call, extent, stride, value.shape[1:])
    sizes = zip(value.shape[1:], window, stride, dilation, before, after, strict=True)
    return [_pooled(call, value, [windows(*size, partial=bool(call.get("ceil_mode", 0))) for size in sizes])]


@ONNX.register("GlobalMaxPool")
def onnx_global_max_pool(call: Call) -> Value:
    """One window over everything but batch and channels."""
    value = call["X"]
    return _pooled(call, value, [torch.arange(n).unsqueeze(0) for n in value.shape[1:]])
