"""Flatten, view, reshape: the same numbers under another shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example
from certify.bounds.rules.base import ATEN, ONNX, RULES, Call, MixesSamples, Move, NotCovered, Shape, Value

__all__ = ["Reshape", "integers", "onnx_along", "reshaped"]


@RULES.register("reshape")
@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Move):
    """Each sample in a new shape.

    Args:
        shape: the per-sample output shape.
    """

    kind: ClassVar[str] = "reshape"
    separable: ClassVar[bool] = True
    overlaps: ClassVar[bool] = False
    shape: Shape

    def forward(self, *inputs: Tensor) -> Tensor:
        """The same numbers, sample by sample."""
        return inputs[0].reshape(inputs[0].shape[0], *self.shape)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Back to the input's shape."""
        return (A.reshape(A.shape[0], *shapes[0]),)

    def reads(self, entries: Tensor, shape: Shape) -> tuple[Tensor, None]:
        """The same places."""
        return entries.unsqueeze(-1), None

    @staticmethod
    def example() -> Example:
        """A 2 x 2 image to a vector."""
        lower = torch.tensor([[[[-1.0, 0.0], [1.0, 2.0]]]])
        return Example(nn.Flatten(), lower, lower + 0.5)


@ATEN.register("flatten")
@ATEN.register("view")
@ATEN.register("reshape")
@ATEN.register("view_as")
@ATEN.register("reshape_as")
@ATEN.register("_unsafe_view")
@ATEN.register("unflatten")
@ATEN.register("squeeze")
@ATEN.register("unsqueeze")
def reshape(call: Call) -> Value:
    """Every torch spelling of it; the traced output shape says all there is to say."""
    if not isinstance(call["self"], Value):
        raise NotCovered("a constant takes the shape of a result")
    return reshaped(call, call["self"], call.shape)


def reshaped(call: Call, value: Value, shape: Shape) -> Value:
    """The result in another per-sample shape.

    Raises:
        MixesSamples: if the samples have another number of entries: what is left would belong to other samples.
    """
    if math.prod(shape) != math.prod(value.shape):
        raise MixesSamples(f"samples of shape {value.shape} do not become samples of shape {shape}: it mixes a batch's")
    return value if shape == value.shape else call.add(Reshape(shape), value)


def onnx_along(call: Call, function: Callable[[Call, Value, int], Value]) -> Value:
    """Apply a function to an ONNX call's input along its axis; before opset 13, to all axes from there on at once."""
    value: Value = call["input"]
    axis = call.axis(call["axis"], value)
    if call.opset >= 13 or axis == len(value.shape) - 1:
        return function(call, value, axis)
    lines = call.add(Reshape((*value.shape[:axis], math.prod(value.shape[axis:]))), value)
    return call.add(Reshape(value.shape), function(call, lines, axis))


def integers(numbers: Any) -> list[int]:
    """Whole numbers that ONNX gives as an attribute or, in newer versions, as a constant input.

    Raises:
        NotCovered: if they depend on the network's input.
    """
    if isinstance(numbers, Value):
        raise NotCovered("its sizes or places depend on the input")
    return [int(number) for number in (numbers.flatten().tolist() if isinstance(numbers, Tensor) else numbers or ())]


@ONNX.register("Reshape")
def onnx_reshape(call: Call) -> Value:
    """The first number is the batch's, whatever it says, if the others hold one sample."""
    value, sizes = call["data"], integers(call["shape"])
    whole = (1,) * call.leading + value.shape
    if not call.get("allowzero", 0):
        sizes = [whole[i] if size == 0 and i < len(whole) else size for i, size in enumerate(sizes)]
    if len(sizes) < call.leading:
        raise MixesSamples("it has no batch axis")
    inner = sizes[call.leading :]
    if inner.count(-1) == 1:
        known = -math.prod(inner)
        inner = [math.prod(value.shape) // known if size == -1 and known else size for size in inner]
    return reshaped(call, value, tuple(inner))


@ONNX.register("Flatten")
def onnx_flatten(call: Call) -> Value:
    """Two axes, of everything before ``axis`` and everything after it."""
    value = call["input"]
    axis = call["axis"] + (len(value.shape) + call.leading if call["axis"] < 0 else 0)
    if not call.leading:
        return reshaped(call, value, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))
    return reshaped(call, value, (math.prod(value.shape[max(0, axis - 1) :]),))


@ONNX.register("Squeeze")
def onnx_squeeze(call: Call) -> Value:
    """Without some axes of length 1."""
    value, axes = call["data"], integers(call["axes"])
    if not axes and call.leading:
        raise MixesSamples("it names no axes: of a batch of one sample it would remove the batch axis")
    gone = {call.axis(axis, value) for axis in axes} or {i for i, n in enumerate(value.shape) if n == 1}
    return reshaped(call, value, tuple(n for i, n in enumerate(value.shape) if i not in gone))


@ONNX.register("Unsqueeze")
def onnx_unsqueeze(call: Call) -> Value:
    """With further axes of length 1, whose places are counted in the result."""
    value, axes = call["data"], integers(call["axes"])
    result = Value("", (*value.shape, *(1,) * len(axes)))
    new, old = {call.axis(axis, result) for axis in axes}, iter(value.shape)
    return reshaped(call, value, tuple(1 if i in new else next(old) for i in range(len(result.shape))))
