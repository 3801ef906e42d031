"""Two-dimensional convolutions, with stride, padding, dilation and groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from certify.bounds.contract import Example, seeded
from certify.bounds.rules.base import ATEN, RULES, Affine, Call, NotCovered, Shape, Sliding, Value

__all__ = ["Conv2d"]

Pair = tuple[int, int]


@RULES.register("conv2d")
@dataclass(frozen=True, slots=True, eq=False)
class Conv2d(Affine):
    """Cross-correlation with zero padding.

    Args:
        weight: (out channels, in channels / groups, height, width).
        offset: (out channels,), or None.
        stride, padding, dilation: (vertical, horizontal); padding is the same on both sides.
        groups: blocks of channels that do not mix.
    """

    kind: ClassVar[str] = "conv2d"
    weight: Tensor
    offset: Tensor | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def bias(self) -> Tensor | None:
        """One number a channel."""
        return None if self.offset is None else self.offset.reshape(-1, 1, 1)

    def _convolve(self, x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, offset, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The convolution."""
        return self._convolve(inputs[0], self.weight, self.offset)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The convolution with |weight|."""
        return self._convolve(inputs[0], self.weight.abs(), None)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The transposed convolution, cut or padded on the far sides to the input's size.

        On a CPU one matrix product and a fold beat the library's transposed convolution in float64, and in float32
        where the input has few channels (3 to 4 times at one channel, equal near eight).
        """
        narrow = self.weight.shape[1] < 8 or A.dtype == torch.float64
        if self.groups == 1 and narrow and A.device.type == "cpu":
            columns = self.weight.flatten(1).T @ A.flatten(2)
            window = self.weight.shape[2:]
            return (F.fold(columns, shapes[0][1:], window, self.dilation, self.padding, self.stride),)
        missing = [
            shapes[0][1 + i]
            - (A.shape[2 + i] - 1) * self.stride[i]
            + 2 * self.padding[i]
            - self.dilation[i] * (self.weight.shape[2 + i] - 1)
            - 1
            for i in (0, 1)
        ]
        return (
            F.conv_transpose2d(A, self.weight, None, self.stride, self.padding, missing, self.groups, self.dilation),
        )

    def sliding(self) -> Sliding:
        """Windows as large as the filter with its gaps."""
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))
        return Sliding(replace(self, padding=(0, 0)), (height, width), self.stride, self.padding)

    @property
    def forward_terms(self) -> int:
        """One product for each weight of a filter."""
        return self.weight[0].numel()

    @property
    def adjoint_terms(self) -> int:
        """One product for each output channel of the group and each place of the filter that can cover an entry."""
        channels, _, *window = self.weight.shape
        apart = [s // math.gcd(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        return channels // self.groups * -(-window[0] // apart[0]) * -(-window[1] // apart[1])

    @staticmethod
    def example() -> Example:
        """Stride, padding, dilation and groups all differ from their defaults."""
        module = seeded(nn.Conv2d, 2, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2)
        center = torch.linspace(-1, 1, 2 * 5 * 4).reshape(1, 2, 5, 4)
        return Example(module, center - 0.1, center + 0.2)


@ATEN.register("conv2d")
def conv2d(call: Call) -> Value:
    """``torch.nn.functional.conv2d``, also with ``padding="same"`` where that is symmetric."""
    value, weight, bias = call["input"], call["weight"], call["bias"]
    if not isinstance(value, Value) or isinstance(weight, Value) or isinstance(bias, Value):
        raise NotCovered("its weights depend on the input")
    dilation = _pair(call["dilation"])
    padding = call["padding"]
    if padding == "same":
        total = [dilation[i] * (weight.shape[2 + i] - 1) for i in (0, 1)]
        if any(t % 2 for t in total):
            raise NotCovered("padding 'same' with an even filter is not symmetric")
        padding = [t // 2 for t in total]
    elif padding == "valid":
        padding = 0
    operator = Conv2d(weight, bias, _pair(call["stride"]), _pair(padding), dilation, call["groups"])
    return call.add(operator, value)


def _pair(setting: Any) -> Pair:
    values = [setting] if isinstance(setting, int) else list(setting)
    return int(values[0]), int(values[-1])
