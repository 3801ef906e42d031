"""Transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Value
from certify.bounds.rules.conv import CONV, TRANSPOSED, bordered, constants, each_axis, overlap

__all__ = ["ConvTranspose"]


@RULES.register("conv_transpose")
@dataclass(frozen=True, slots=True, eq=False)
class ConvTranspose(Affine):
    """The adjoint of a convolution, plus a bias.

    Args:
        weight: (in channels, out channels / groups, one, two or three sizes of a filter).
        offset: (out channels,), or None.
        stride, padding, dilation: of the convolution, one number an axis.
        extra: entries added on the far side of each axis.
        groups: blocks of channels that do not mix.
    """

    kind: ClassVar[str] = "conv_transpose"
    weight: Tensor
    offset: Tensor | None
    stride: Shape
    padding: Shape
    dilation: Shape
    extra: Shape
    groups: int = 1

    @property
    def bias(self) -> Tensor | None:
        """One number a channel."""
        return None if self.offset is None else self.offset.reshape(-1, *(1,) * len(self.stride))

    def _spread(self, x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        spread = TRANSPOSED[len(self.stride)]
        return spread(x, weight, offset, self.stride, self.padding, self.extra, self.groups, self.dilation)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The transposed convolution."""
        return self._spread(inputs[0], self.weight, self.offset)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The same with |weight|."""
        return self._spread(inputs[0], self.weight.abs(), None)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The convolution. Entries added on the far side may leave room for windows that no input has."""
        part = CONV[len(self.stride)](A, self.weight, None, self.stride, self.padding, self.dilation, self.groups)
        for axis, size in enumerate(shapes[0][1:], start=2):
            part = part.narrow(axis, 0, size)
        return (part,)

    @property
    def forward_terms(self) -> int:
        """One product for each input channel of the group and each place of the filter that can cover an entry."""
        return len(self.weight) // self.groups * overlap(self.weight.shape[2:], self.stride, self.dilation)

    @property
    def adjoint_terms(self) -> int:
        """One product for each weight of a filter."""
        return self.weight[0].numel()

    @staticmethod
    def example() -> Example:
        """Every setting differs from its default."""
        settings = {"stride": (3, 1), "padding": (1, 2), "output_padding": (2, 1), "dilation": (1, 2), "groups": 2}
        module = seeded(nn.ConvTranspose2d, 2, 4, (3, 2), **settings)
        center = torch.linspace(-1, 1, 2 * 2 * 4).reshape(1, 2, 2, 4)
        return Example(module, center - 0.1, center + 0.2)


@ATEN.register("conv_transpose1d")
@ATEN.register("conv_transpose2d")
@ATEN.register("conv_transpose3d")
def conv_transpose(call: Call) -> Value:
    """``torch.nn.functional.conv_transpose2d`` and its kin."""
    value, weight, bias = call["input"], call["weight"], call["bias"]
    constants(value, weight, bias)
    axes = weight.dim() - 2
    stride, dilation = each_axis(call["stride"], axes), each_axis(call["dilation"], axes)
    padding, extra = each_axis(call["padding"], axes, 0), each_axis(call["output_padding"], axes, 0)
    return call.add(ConvTranspose(weight, bias, stride, padding, dilation, extra, call["groups"]), value)


@ONNX.register("ConvTranspose")
def onnx_conv_transpose(call: Call) -> Value:
    """A transposed convolution; what is not the same on both sides is cut off afterwards."""
    value, weight, bias = call["X"], call["W"], call["B"]
    constants(value, weight, bias)
    axes = weight.dim() - 2
    stride, dilation = each_axis(call["strides"], axes), each_axis(call["dilations"], axes)
    extra = each_axis(call["output_padding"], axes, 0)
    before, after = _cut(call, value.shape[1:], weight.shape[2:], stride, dilation, extra)
    same = before == after and min(before) >= 0
    operator = ConvTranspose(weight, bias, stride, before if same else (0,) * axes, dilation, extra, call["group"])
    result = call.add(operator, value)
    return result if same else bordered(call, result, [-n for n in before], [-n for n in after])


def _cut(call: Call, sizes: Shape, window: Shape, stride: Shape, dilation: Shape, extra: Shape) -> tuple[Shape, Shape]:
    """How much is cut off before and after each axis."""
    automatic, wanted = call.get("auto_pad") or "NOTSET", call["output_shape"]
    if automatic in ("NOTSET", "VALID") and not wanted:
        pads = (call["pads"] if automatic == "NOTSET" else None) or [0] * (2 * len(sizes))
        return tuple(pads[: len(sizes)]), tuple(pads[len(sizes) :])
    wanted = [n * s for n, s in zip(sizes, stride, strict=True)] if not wanted else wanted[-len(sizes) :]
    whole = [
        (n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(sizes, stride, dilation, window, extra, strict=True)
    ]
    totals = [w - n for w, n in zip(whole, wanted, strict=True)]
    if min(totals) < 0:
        raise NotCovered(f"its output_shape {tuple(wanted)} is larger than the image it makes, {tuple(whole)}")
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if automatic == "SAME_UPPER" else (large, small)
