"""Normalization by each sample's own entries: layer, group, instance, RMS and local response norm."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Value
from certify.bounds.rules.batch_norm import by_stored_statistics
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.einsum import Einsum
from certify.bounds.rules.multiply import multiply
from certify.bounds.rules.power import Power
from certify.bounds.rules.reduce import Reduce
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.tensors import Interval

__all__ = ["Center"]


@RULES.register("center")
@dataclass(frozen=True, slots=True, eq=False)
class Center(Affine):
    """``y = x - mean(x)`` over the last axes: one product with ``I - 1/n``, so that no entry meets itself twice.

    Args:
        shape: per-sample shape of the input.
        first: the first of the axes.
    """

    kind: ClassVar[str] = "center"
    shape: Shape
    first: int

    @property
    def _count(self) -> int:
        return math.prod(self.shape[self.first :])

    def _mean(self, x: Tensor) -> Tensor:
        return x.mean(dim=list(range(self.first + 1, len(self.shape) + 1)), keepdim=True)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The distances from the mean."""
        return inputs[0] - self._mean(inputs[0])

    def absolute(self, *inputs: Tensor) -> Tensor:
        """``(1 - 1/n) x_i + sum_(j != i) x_j / n``."""
        return inputs[0] * (1 - 2 / self._count) + self._mean(inputs[0])

    def executed(self, *boxes: Interval) -> Tensor:
        """Nothing: executions compute the variance in other ways."""
        raise NotCovered("float32 executions of a normalization round in other places than its bounds")

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """A symmetric matrix is its own adjoint."""
        return (A - self._mean(A),)

    def line(self) -> Center | None:
        """One of so many entries, if only the last axis is centred."""
        return Center(self.shape[-1:], 0) if self.first == len(self.shape) - 1 else None

    @property
    def forward_terms(self) -> int:
        """A mean and a difference. Their errors are relative to ``x_i + mean(x)``, at most three times ``|W| x``."""
        return 3 * (self._count + 4)

    @property
    def adjoint_terms(self) -> int:
        """The same."""
        return self.forward_terms

    @staticmethod
    def example() -> Example:
        """Lines of four, none of whose entries comes near the largest that it could be."""
        lower = torch.tensor([[[-1.0, 1.0, -0.8, 1.2], [0.7, 0.5, -0.4, -0.6]]])
        return Example(seeded(nn.LayerNorm, 4), lower, lower + torch.tensor([0.1, 0.2, 0.1, 0.05]))


def _normalized(call: Call, value: Value, first: int, eps: float, *, centered: bool = True) -> Value:
    """Over the axes from ``first`` on: ``c / sqrt(mean(c^2) + eps)`` where c is the input, centred or not.

    None of n numbers exceeds ``sqrt(n)`` times the root of their mean square, or ``sqrt(n - 1)`` times if they sum to
    0. Clipping the result there changes nothing, but tightens the bounds, which follow from boxes of the two factors.

    Raises:
        NotCovered: for a negative eps, with which the result has no such limit.
    """
    if not eps >= 0:
        raise NotCovered(f"eps is {eps}: a normalization needs one that is not negative")
    c = call.add(Center(value.shape, first), value) if centered else value
    axes = tuple(range(first, len(value.shape)))
    power = call.add(Reduce(value.shape, axes, mean=True, keep=True), call.add(Power(2.0), c))
    normal = multiply(call, c, call.add(Power(-0.5), combined(call, power, eps)))
    most = math.sqrt(math.prod(value.shape[first:]) - centered) * (1 + 1e-6)
    return call.add(Clip(-most, most), normal)


def _scaled(call: Call, value: Value, weight: Any, bias: Any) -> Value:
    if isinstance(weight, Value) or isinstance(bias, Value):
        raise NotCovered("its weights depend on the input")
    value = value if weight is None else scaled(call, value, weight)
    return value if bias is None else combined(call, value, bias)


def _by_channel(call: Call, value: Value, groups: int, eps: float, weight: Any, bias: Any) -> Value:
    """Groups of channels (axis 0 of a sample), scaled and shifted channel by channel."""
    lines = call.add(Reshape((groups, math.prod(value.shape) // groups)), value)
    normal = call.add(Reshape(value.shape), _normalized(call, lines, 1, eps))
    per_channel = [
        w.reshape(-1, *(1,) * (len(value.shape) - 1)) if isinstance(w, Tensor) else w for w in (weight, bias)
    ]
    return _scaled(call, normal, *per_channel)


def _last(call: Call, value: Value, normalized: Sequence[int]) -> int:
    """Where the normalized axes begin."""
    return call.axis(-len(normalized), value)


def _layer_norm(call: Call) -> Value:
    value: Value = call["input"]
    normal = _normalized(call, value, _last(call, value, call["normalized_shape"]), call["eps"])
    return _scaled(call, normal, call["weight"], call["bias"])


@ATEN.register("layer_norm")
def layer_norm(call: Call) -> Value:
    """``torch.nn.functional.layer_norm``."""
    return _layer_norm(call)


@ATEN.register("native_layer_norm")
def native_layer_norm(call: Call) -> list[Value]:
    """Layer normalization; mean and variance themselves cannot be used."""
    return [_layer_norm(call)]


@ATEN.register("rms_norm")
def rms_norm(call: Call) -> Value:
    """``torch.nn.functional.rms_norm``."""
    value: Value = call["input"]
    if call["eps"] is None:
        raise NotCovered("its eps depends on the precision: give it as a number")
    normal = _normalized(call, value, _last(call, value, call["normalized_shape"]), call["eps"], centered=False)
    return _scaled(call, normal, call["weight"], None)


@ATEN.register("group_norm")
def group_norm(call: Call) -> Value:
    """``torch.nn.functional.group_norm``."""
    return _by_channel(call, call["input"], call["num_groups"], call["eps"], call["weight"], call["bias"])


@ATEN.register("instance_norm")
def instance_norm(call: Call) -> Value:
    """``torch.nn.functional.instance_norm``: one group a channel, or stored statistics."""
    if not call["use_input_stats"] and call["running_mean"] is not None:
        return by_stored_statistics(call)
    return _by_channel(call, call["input"], call["input"].shape[0], call["eps"], call["weight"], call["bias"])


@ONNX.register("LayerNormalization")
def onnx_layer_norm(call: Call) -> list[Value]:
    """Over all axes from ``axis`` on; mean and variance themselves cannot be used."""
    value: Value = call["X"]
    normal = _normalized(call, value, call.axis(call["axis"], value), call["epsilon"])
    return [_scaled(call, normal, call["Scale"], call["B"])]


@ONNX.register("InstanceNormalization")
def onnx_instance_norm(call: Call) -> Value:
    """One group a channel."""
    value: Value = call["input"]
    return _by_channel(call, value, value.shape[0], call["epsilon"], call["scale"], call["B"])


@ONNX.register("GroupNormalization")
def onnx_group_norm(call: Call) -> Value:
    """Groups of channels, scaled channel by channel."""
    if call.opset < 21:
        raise NotCovered("before opset 21 its scales belong to groups: export again with opset_version=21")
    return _by_channel(call, call["X"], call["num_groups"], call["epsilon"], call["scale"], call["bias"])


@ONNX.register("LRN")
def onnx_local_response(call: Call) -> Value:
    """``X / (bias + alpha / size sum of X^2 over neighbouring channels)^beta``."""
    value, size = call["X"], call["size"]
    if len(value.shape) < 2:
        raise NotCovered("its input has no axes after the channels")
    channels, rest = value.shape[0], string.ascii_lowercase[: len(value.shape) - 1]
    window = torch.ones(channels, channels, dtype=call.dtype).tril(size // 2).triu(-((size - 1) // 2))
    start = abs(call["bias"]) * size / abs(call["alpha"]) if call["alpha"] else math.inf
    total = Einsum((f"ZX{rest}", "YX", f"ZY{rest}"), window, start)
    squares = call.add(total, call.add(Power(2.0), value))
    base = combined(call, scaled(call, squares, call["alpha"] / size), call["bias"])
    return multiply(call, value, call.add(Power(-call["beta"]), base))
