"""Average pooling, over windows or over the whole image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, RULES, Affine, Call, NotCovered, Shape, Value

__all__ = ["AvgPool2d"]

Pair = tuple[int, int]


@RULES.register("avg_pool2d")
@dataclass(frozen=True, slots=True, eq=False)
class AvgPool2d(Affine):
    """The mean of each window.

    Args:
        window, stride, padding: (vertical, horizontal).
        count_padding: whether padded zeros count in the divisor.
        keep_image: False to drop the two image axes of a 1 x 1 result.
    """

    kind: ClassVar[str] = "avg_pool2d"
    window: Pair
    stride: Pair
    padding: Pair = (0, 0)
    count_padding: bool = True
    keep_image: bool = True

    def forward(self, *inputs: Tensor) -> Tensor:
        """The means."""
        pooled = F.avg_pool2d(inputs[0], self.window, self.stride, self.padding, count_include_pad=self.count_padding)
        return pooled if self.keep_image else pooled.flatten(1)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """All weights are positive."""
        return self.forward(*inputs)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Each mean spread evenly over its window, by automatic differentiation of a linear map."""
        pull_back = torch.func.vjp(self.forward, A.new_zeros(A.shape[0], *shapes[0]))[1]
        return tuple(pull_back(A))

    @property
    def forward_terms(self) -> int:
        """One product an entry of the window."""
        return math.prod(self.window) + 2

    @property
    def adjoint_terms(self) -> int:
        """An entry lies in at most this many windows."""
        return math.prod(self.window) + 2

    @staticmethod
    def example() -> Example:
        """Overlapping windows that reach into the padding."""
        lower = torch.linspace(-1, 1, 2 * 5 * 4).reshape(1, 2, 5, 4)
        return Example(nn.AvgPool2d((3, 2), stride=(2, 1), padding=1, count_include_pad=False), lower, lower + 0.3)


@ATEN.register("avg_pool2d")
def avg_pool2d(call: Call) -> Value:
    """``torch.nn.functional.avg_pool2d``."""
    if call["ceil_mode"] or call["divisor_override"] is not None:
        raise NotCovered("ceil_mode and divisor_override are not covered")
    window = _pair(call["kernel_size"])
    stride = _pair(call["stride"]) if call["stride"] else window
    return call.add(AvgPool2d(window, stride, _pair(call["padding"]), call["count_include_pad"]), call["self"])


@ATEN.register("adaptive_avg_pool2d")
def adaptive_avg_pool2d(call: Call) -> Value:
    """Adaptive pooling whose windows are all of one size."""
    size, out = call["self"].shape[-2:], tuple(call["output_size"])
    if size[0] % out[0] or size[1] % out[1]:
        raise NotCovered(f"an image of {size[0]} x {size[1]} does not divide into {out[0]} x {out[1]} equal windows")
    window = (size[0] // out[0], size[1] // out[1])
    return call.add(AvgPool2d(window, window), call["self"])


@ATEN.register("mean")
def mean(call: Call) -> Value:
    """The mean over both image axes."""
    value = call["self"]
    axes = {axis % (len(value.shape) + 1) for axis in call["dim"] or ()} if "dim" in call.arguments else set()
    if len(value.shape) != 3 or axes != {2, 3}:
        raise NotCovered("only the mean over both image axes is covered")
    window = (value.shape[1], value.shape[2])
    return call.add(AvgPool2d(window, window, keep_image=call["keepdim"]), value)


def _pair(setting: list[int]) -> Pair:
    return int(setting[0]), int(setting[-1])
