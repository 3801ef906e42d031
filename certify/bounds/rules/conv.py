"""Convolutions in one, two and three dimensions, with stride, padding, dilation and groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from certify.bounds.contract import Example, seeded
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Sliding, Value
from certify.bounds.rules.select import moved

__all__ = ["Conv", "bordered", "constants", "each_axis", "margins", "overlap"]

CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@RULES.register("conv")
@dataclass(frozen=True, slots=True, eq=False)
class Conv(Affine):
    """Cross-correlation with zero padding.

    Args:
        weight: (out channels, in channels / groups, one, two or three sizes of a filter).
        offset: (out channels,), or None.
        stride, padding, dilation: one number an axis; padding is the same on both sides.
        groups: blocks of channels that do not mix.
    """

    kind: ClassVar[str] = "conv"
    weight: Tensor
    offset: Tensor | None
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1

    @property
    def bias(self) -> Tensor | None:
        """One number a channel."""
        return None if self.offset is None else self.offset.reshape(-1, *(1,) * len(self.stride))

    def _convolve(self, x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        return CONV[len(self.stride)](x, weight, offset, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The convolution."""
        return self._convolve(inputs[0], self.weight, self.offset)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The convolution with |weight|."""
        return self._convolve(inputs[0], self.weight.abs(), None)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The transposed convolution, cropped or padded on the far sides to the input's size.

        On a CPU, in float32 with stride 1, the library's convolution with the filters turned round is fastest (1 to 20
        times). For images with few input channels, and filters of one place, a matrix product and a fold are faster
        than its transposed convolution (3 to 4 times for one channel, half as fast for eight in float32). Otherwise
        that is fastest with channels last (2.4 times for 32 to 16 channels, stride 2, float32).
        """
        window = self.weight.shape[2:]
        if len(window) == 2 and self.groups == 1 and A.device.type == "cpu":
            border = [k - 1 - p for k, p in zip(window, self.padding, strict=True)]
            if A.dtype == torch.float32 and set(self.stride) == set(self.dilation) == {1} and min(border) >= 0:
                return (F.conv2d(A, self.weight.transpose(0, 1).flip(2, 3), None, 1, border),)
            if self.weight.shape[1] < 8 or set(window) == {1}:
                columns = self.weight.flatten(1).T @ A.flatten(2)
                return (F.fold(columns, shapes[0][1:], window, self.dilation, self.padding, self.stride),)
            if A.dtype == torch.float64 or max(self.stride) > 1:
                A = A.contiguous(memory_format=torch.channels_last)
        axes = zip(shapes[0][1:], A.shape[2:], self.stride, self.padding, self.dilation, window, strict=True)
        missing = [size - (n - 1) * s + 2 * p - d * (k - 1) - 1 for size, n, s, p, d, k in axes]
        transposed = TRANSPOSED[len(window)]
        part = transposed(A, self.weight, None, self.stride, self.padding, missing, self.groups, self.dilation)
        return (part.contiguous(),)

    def sliding(self) -> Sliding | None:
        """Windows as large as the filter with its gaps, on images."""
        if len(self.stride) != 2:
            return None
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))
        stride, padding = (self.stride[0], self.stride[1]), (self.padding[0], self.padding[1])
        return Sliding(replace(self, padding=(0, 0)), (height, width), stride, padding)

    @property
    def forward_terms(self) -> int:
        """One product for each weight of a filter."""
        return self.weight[0].numel()

    @property
    def adjoint_terms(self) -> int:
        """One product for each output channel of the group and each place of the filter that can cover an entry."""
        return len(self.weight) // self.groups * overlap(self.weight.shape[2:], self.stride, self.dilation)

    @staticmethod
    def example() -> Example:
        """Stride, padding, dilation and groups all differ from their defaults."""
        module = seeded(nn.Conv2d, 2, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2)
        center = torch.linspace(-1, 1, 2 * 5 * 4).reshape(1, 2, 5, 4)
        return Example(module, center - 0.1, center + 0.2)


def overlap(window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> int:
    """How many places of sliding windows can cover one entry."""
    apart = (s // math.gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    return math.prod(-(-k // a) for k, a in zip(window, apart, strict=True))


def each_axis(setting: Any, axes: int, default: int = 1) -> Shape:
    """A setting of windows as one number an axis; torch repeats a single one, and None or nothing is the default."""
    values = [setting] if isinstance(setting, int) else list(setting or [default])
    return tuple(int(value) for value in (values * axes if len(values) == 1 else values))


def bordered(call: Call, value: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    """A result with zeros before and after it along its last axes; negative counts cut."""
    pairs = [count for pair in reversed(list(zip(before, after, strict=True))) for count in pair]
    result = moved(call, value, lambda numbers: F.pad(numbers, pairs))
    assert isinstance(result, Value)
    return result


def margins(call: Call, extent: Sequence[int], stride: Sequence[int], sizes: Sequence[int]) -> tuple[Shape, Shape]:
    """The zeros that an ONNX node puts before and after each axis of an image, for windows of a given extent."""
    automatic = call.get("auto_pad") or "NOTSET"
    if automatic == "VALID":
        return (0,) * len(sizes), (0,) * len(sizes)
    if automatic == "NOTSET":
        pads = call["pads"] or [0] * (2 * len(sizes))
        return tuple(pads[: len(sizes)]), tuple(pads[len(sizes) :])
    # As many outputs as strides fit into the input, an odd zero at the end ("upper") or the beginning.
    axes = zip(extent, stride, sizes, strict=True)
    totals = [max((-(-n // s) - 1) * s + e - n, 0) for e, s, n in axes]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if automatic == "SAME_UPPER" else (large, small)


def _extent(window: Sequence[int], dilation: Sequence[int]) -> Shape:
    return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def constants(value: Any, weight: Any, bias: Any) -> None:
    """Refuse a layer whose weights are results of the network."""
    if not isinstance(value, Value) or isinstance(weight, Value) or isinstance(bias, Value):
        raise NotCovered("its weights depend on the input")


@ATEN.register("conv1d")
@ATEN.register("conv2d")
@ATEN.register("conv3d")
def conv(call: Call) -> Value:
    """``torch.nn.functional.conv2d`` and its kin, also with ``padding="same"``."""
    value, weight, bias = call["input"], call["weight"], call["bias"]
    constants(value, weight, bias)
    window = weight.shape[2:]
    axes = len(window)
    stride, dilation, padding = each_axis(call["stride"], axes), each_axis(call["dilation"], axes), call["padding"]
    if padding == "same":
        total = [extent - 1 for extent in _extent(window, dilation)]
        padding = [t // 2 for t in total]
        if any(t % 2 for t in total):
            value = bordered(call, value, [0] * axes, [t % 2 for t in total])
    elif padding == "valid":
        padding = 0
    return call.add(Conv(weight, bias, stride, each_axis(padding, axes, 0), dilation, call["groups"]), value)


@ONNX.register("Conv")
def onnx_conv(call: Call) -> Value:
    """A convolution; zeros that are not the same on both sides are put there first."""
    value, weight, bias = call["X"], call["W"], call["B"]
    constants(value, weight, bias)
    window = weight.shape[2:]
    stride, dilation = each_axis(call["strides"], len(window)), each_axis(call["dilations"], len(window))
    before, after = margins(call, _extent(window, dilation), stride, value.shape[1:])
    if before != after:
        value = bordered(call, value, before, after)
        before = (0,) * len(window)
    return call.add(Conv(weight, bias, stride, before, dilation, call["group"]), value)
