"""Average pooling over windows in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Sliding, Value
from certify.bounds.rules.conv import bordered, each_axis, margins, overlap
from certify.bounds.rules.scale_shift import scaled

__all__ = ["AdaptiveAvgPool", "AvgPool"]

POOL: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


class _Pooling(Affine):
    """Means of parts of the input."""

    def absolute(self, *inputs: Tensor) -> Tensor:
        """All weights are positive."""
        return self.forward(*inputs)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Each mean spread evenly over its window, by automatic differentiation of a linear map."""
        pull_back = torch.func.vjp(self.forward, A.new_zeros(A.shape[0], *shapes[0]))[1]
        return tuple(pull_back(A))


@RULES.register("avg_pool")
@dataclass(frozen=True, slots=True, eq=False)
class AvgPool(_Pooling):
    """The mean of each window.

    Args:
        window, stride, padding: one number an axis.
        count_padding: whether padded zeros count in the divisor.
        partial: whether windows that stick out at the far end, with at least one entry inside, are used too.
    """

    kind: ClassVar[str] = "avg_pool"
    window: Shape
    stride: Shape
    padding: Shape
    count_padding: bool = True
    partial: bool = False

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        pool = POOL[len(self.window)]
        return pool(inputs[0], self.window, self.stride, self.padding, self.partial, self.count_padding)

    @property
    def forward_terms(self) -> int:
        """One product an entry of the window, and its weight."""
        return math.prod(self.window) + 2

    @property
    def adjoint_terms(self) -> int:
        """One product for each window that can cover an entry, and its weight."""
        return overlap(self.window, self.stride, (1,) * len(self.window)) + 2

    def sliding(self) -> Sliding | None:
        """Windows of images, if each has the same divisor."""
        if len(self.window) != 2 or self.partial or (any(self.padding) and not self.count_padding):
            return None
        window, stride, padding = ((one[0], one[1]) for one in (self.window, self.stride, self.padding))
        return Sliding(replace(self, padding=(0, 0)), window, stride, padding)

    @staticmethod
    def example() -> Example:
        """Overlapping windows that reach into the padding."""
        lower = torch.linspace(-1, 1, 2 * 5 * 4).reshape(1, 2, 5, 4)
        return Example(nn.AvgPool2d((3, 2), stride=(2, 1), padding=1, count_include_pad=False), lower, lower + 0.3)


@RULES.register("adaptive_avg_pool")
@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveAvgPool(_Pooling):
    """The means of windows that share an input evenly where its size is no multiple of the output's.

    Args:
        inside, size: lengths of the axes of input and output.
    """

    kind: ClassVar[str] = "adaptive_avg_pool"
    inside: Shape
    size: Shape

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return ADAPTIVE[len(self.size)](inputs[0], self.size)

    @property
    def forward_terms(self) -> int:
        """A window reaches over the entries of its share, and parts of one at either end."""
        return math.prod(n // out + 2 for n, out in zip(self.inside, self.size, strict=True)) + 2

    @property
    def adjoint_terms(self) -> int:
        """The same from the other side."""
        return math.prod(out // n + 2 for n, out in zip(self.inside, self.size, strict=True)) + 2

    @staticmethod
    def example() -> Example:
        """Five rows to three, three columns to four."""
        lower = torch.linspace(-1, 1, 2 * 5 * 3).reshape(1, 2, 5, 3)
        return Example(nn.AdaptiveAvgPool2d((3, 4)), lower, lower + 0.3)


@ATEN.register("avg_pool1d")
@ATEN.register("avg_pool2d")
@ATEN.register("avg_pool3d")
def avg_pool(call: Call) -> Value:
    """``torch.nn.functional.avg_pool2d`` and its kin."""
    axes = int(call.target[-2])
    window = each_axis(call["kernel_size"], axes)
    stride = each_axis(call["stride"], axes) if call["stride"] else window
    counted, divisor = call["count_include_pad"], call.get("divisor_override")
    if divisor is not None:
        counted = True
    partial, padding = call["ceil_mode"], each_axis(call["padding"], axes, 0)
    if partial and divisor is not None:
        raise NotCovered("ceil_mode and divisor_override together")
    pooled = call.add(AvgPool(window, stride, padding, counted, partial), call["self"])
    return pooled if divisor is None else scaled(call, pooled, math.prod(window) / divisor)


@ATEN.register("adaptive_avg_pool1d")
@ATEN.register("adaptive_avg_pool2d")
@ATEN.register("adaptive_avg_pool3d")
def adaptive_avg_pool(call: Call) -> Value:
    """Adaptive pooling: usual windows where the output's size divides the input's."""
    size = call.shape[1:]
    inside = call["self"].shape[1:]
    if any(n % out for n, out in zip(inside, size, strict=True)):
        return call.add(AdaptiveAvgPool(inside, size), call["self"])
    window = tuple(n // out for n, out in zip(inside, size, strict=True))
    return call.add(AvgPool(window, window, (0,) * len(size)), call["self"])


@ONNX.register("AveragePool")
def onnx_average_pool(call: Call) -> Value:
    """Zeros that are not the same on both sides are put there first, and means that count them are corrected."""
    value = call["X"]
    window = tuple(call["kernel_shape"])
    stride = each_axis(call["strides"], len(window))
    if any(step != 1 for step in call.get("dilations") or ()):
        raise NotCovered("average pooling with dilation")
    before, after = margins(call, window, stride, value.shape[1:])
    counted, partial, none = bool(call["count_include_pad"]), bool(call.get("ceil_mode", 0)), (0,) * len(window)
    if before == after:
        return call.add(AvgPool(window, stride, before, counted, partial), value)
    if partial:
        raise NotCovered("ceil_mode with zeros that are not the same on both sides")
    padded = bordered(call, value, before, after)
    means = AvgPool(window, stride, none)
    pooled = call.add(means, padded)
    if counted:
        return pooled
    pairs = [count for pair in reversed(list(zip(before, after, strict=True))) for count in pair]
    inside = F.pad(torch.ones(1, 1, *value.shape[1:], dtype=torch.float64), pairs)
    return scaled(call, pooled, means.forward(inside)[0], divide=True)
