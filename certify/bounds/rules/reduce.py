"""Sums and means over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import down, gamma, smallest, up
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, MixesSamples, NotCovered, Shape, Value
from certify.bounds.rules.einsum import along
from certify.bounds.tensors import Interval

__all__ = ["Reduce", "onnx_axes", "reduced"]


@RULES.register("reduce")
@dataclass(frozen=True, slots=True, eq=False)
class Reduce(Affine):
    """The sum, or the mean, over some axes.

    Args:
        shape: per-sample shape of the input.
        axes: of a sample, in ascending order.
        mean: whether to divide by the number of entries summed.
        keep: whether the axes stay, with length 1.
    """

    kind: ClassVar[str] = "reduce"
    overlaps: ClassVar[bool] = False
    shape: Shape
    axes: Shape
    mean: bool = False
    keep: bool = False

    @property
    def _count(self) -> int:
        return math.prod(self.shape[axis] for axis in self.axes)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sum or the mean."""
        axes = [axis + 1 for axis in self.axes]
        return inputs[0].mean(axes, self.keep) if self.mean else inputs[0].sum(axes, self.keep)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """All weights are positive."""
        return self.forward(*inputs)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """End by end: a sum of numbers that are not negative is at least each of them, however far apart those are."""
        [box] = boxes
        lower, upper = self.forward(box.lower), self.forward(box.upper)
        if not outward:
            return Interval.known(lower, upper)
        terms, dtype = self.forward_terms + 8, lower.dtype
        lost = [
            gamma(terms, dtype) * self.forward(end.abs()) + terms * smallest(dtype) for end in (box.lower, box.upper)
        ]
        lower = down(lower - lost[0])
        if not self.mean:
            axes = [axis + 1 for axis in self.axes]
            positive = (box.lower >= 0).all(axes, self.keep)
            lower = torch.where(positive, torch.maximum(lower, box.lower.amax(axes, self.keep)), lower)
        return Interval.known(lower, up(upper + lost[1]))

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Each coefficient for every entry of its sum."""
        if not self.keep:
            A = A.reshape(len(A), *(1 if axis in self.axes else n for axis, n in enumerate(self.shape)))
        return ((A / self._count if self.mean else A).expand(len(A), *self.shape),)

    def reads(self, entries: Tensor, shape: Shape) -> tuple[Tensor, None] | None:
        """The entries of each sum; means have weights that are rounded."""
        if self.mean:
            return None
        numbers = torch.arange(math.prod(shape), device=entries.device).reshape(shape)
        summed = numbers.movedim(self.axes, tuple(range(-len(self.axes), 0))).reshape(-1, self._count)
        return summed[entries], None

    @property
    def forward_terms(self) -> int:
        """One sum an entry, and a division or a product with a rounded weight."""
        return self._count + 2 * self.mean

    @property
    def adjoint_terms(self) -> int:
        """A division."""
        return int(self.mean)

    @staticmethod
    def example() -> Example:
        """Sums and means over the same axes."""
        lower = torch.linspace(-1, 1, 12).reshape(1, 2, 3, 2)
        return Example(
            Applied(lambda x: x.sum((1, -1)) - 2 * x.mean((1, 3), keepdim=True)[:, 0, :, 0]), lower, lower + 0.4
        )


def reduced(call: Call, value: Value, axes: Sequence[int] | None, *, mean: bool, keep: bool) -> Value:
    """A sum or mean over the source's own axes; None for all of them."""
    if axes is None:
        if call.leading:
            raise MixesSamples("it adds up the samples of a batch")
        axes = range(len(value.shape))
    found = tuple(sorted({call.axis(int(axis), value) for axis in axes}))
    return call.add(Reduce(value.shape, found, mean, keep), value)


@ATEN.register("sum")
@ATEN.register("mean")
def torch_reduction(call: Call) -> Value:
    """``torch.sum`` and ``torch.mean``."""
    dim = call.get("dim")
    axes = [dim] if isinstance(dim, int) else dim or None
    return reduced(call, call["self"], axes, mean=call.target == "mean", keep=call.get("keepdim", False))


@ATEN.register("cumsum")
def cumsum(call: Call) -> Value:
    """Running sums along an axis."""
    return _running(call, call["self"], call["dim"])


def onnx_axes(call: Call) -> list[int] | None:
    """The axes of an ONNX reduction, an attribute of older versions and an input of newer ones; None for all of them.

    An empty list where the reduction does nothing.
    """
    axes = call.get("axes")
    if isinstance(axes, Tensor):
        axes = axes.tolist()
    return list(axes) if axes else [] if call.get("noop_with_empty_axes", 0) else None


@ONNX.register("ReduceSum")
@ONNX.register("ReduceMean")
def onnx_reduction(call: Call) -> Value:
    """Sums and means."""
    value: Value = call["data"]
    if (axes := onnx_axes(call)) == []:
        return value
    return reduced(call, value, axes, mean=call.target == "ReduceMean", keep=bool(call["keepdims"]))


@ONNX.register("GlobalAveragePool")
def onnx_global_average_pool(call: Call) -> Value:
    """The mean over all axes but batch and channels."""
    value = call["X"]
    return call.add(Reduce(value.shape, tuple(range(1, len(value.shape))), mean=True, keep=True), value)


@ONNX.register("CumSum")
def onnx_cumsum(call: Call) -> Value:
    """Running sums, also from the end and without the entry itself."""
    if not isinstance(call["axis"], Tensor):
        raise NotCovered("its axis depends on the input")
    return _running(
        call, call["x"], int(call["axis"]), exclusive=bool(call["exclusive"]), reverse=bool(call["reverse"])
    )


def _running(call: Call, value: Value, axis: int, *, exclusive: bool = False, reverse: bool = False) -> Value:
    place = call.axis(axis, value)
    matrix = torch.ones(value.shape[place], value.shape[place], dtype=call.dtype).tril(-int(exclusive))
    return along(call, value, place, matrix.T if reverse else matrix)
