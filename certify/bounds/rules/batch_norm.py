"""Batch normalization in eval mode: a scale and a shift per channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rounding import gamma, smallest, unit
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Value
from certify.bounds.tensors import Interval

__all__ = ["BatchNorm", "by_stored_statistics"]


@RULES.register("batch_norm")
@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(Affine):
    """``y = (x - mean) gamma / sqrt(variance + eps) + beta`` with stored statistics.

    Args:
        mean, variance: running statistics, one a channel (axis 1).
        gamma, beta: the learned scale and shift, or None for 1 and 0.
        eps: the constant under the root.
    """

    kind: ClassVar[str] = "batch_norm"
    forward_terms = 12  # a product and a sum, after a sum, a root, a reciprocal and two products in the coefficients
    adjoint_terms = 8  # a product with a coefficient that took six roundings
    separable: ClassVar[bool] = True
    mean: Tensor
    variance: Tensor
    gamma: Tensor | None
    beta: Tensor | None
    eps: float
    ndim: int

    def _channels(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *(1,) * (self.ndim - 1))

    @property
    def _total(self) -> Tensor:
        """What is under the root, in float64: the two may cancel, and eps is a number of float64."""
        return self.variance.double() + self.eps

    @property
    def _scale(self) -> Tensor:
        scale = self._total.rsqrt().to(self.variance)
        return self._channels(scale if self.gamma is None else scale * self.gamma)

    @property
    def bias(self) -> Tensor:
        """``beta - mean * scale``."""
        shift = -self._channels(self.mean) * self._scale
        return shift if self.beta is None else shift + self._channels(self.beta)

    @property
    def bias_magnitude(self) -> Tensor:
        """The two terms may cancel in the bias; the errors do not."""
        shift = (self._channels(self.mean) * self._scale).abs()
        return shift if self.beta is None else shift + self._channels(self.beta).abs()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Scale, then shift."""
        return inputs[0] * self._scale + self.bias

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Scale by the size of the factor."""
        return inputs[0] * self._scale.abs()

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """A diagonal matrix is its own adjoint."""
        return (A * self._scale,)

    def executed(self, *boxes: Interval) -> Tensor:
        """Roundings, of which a sum ``variance + eps`` that cancels makes much, and what partial products may lose.

        Executions multiply ``|x| + |mean|``, the inverse root and gamma in any order. A partial product that is too
        small for a float32 loses at most the smallest one, times the factors that follow; where one may be too large,
        or the sum be 0, nothing is known.
        """
        x, smallest_one, total = boxes[0].magnitude(), smallest(torch.float32), self._total
        rounded = self.variance.float().to(total) + float(torch.tensor(self.eps, dtype=torch.float32))
        lost = (rounded - total).abs() + 2 * unit(torch.float32) * total + smallest_one
        least = torch.where(total - lost > smallest_one, total - lost, torch.nan)
        enlarged = self._channels((total / least).sqrt()) * (1 + gamma(14, torch.float32)) - 1
        factors = [x.double() + self._channels(self.mean).abs(), self._channels(least.rsqrt())]
        if self.gamma is not None:
            factors.append(self._channels(self.gamma).abs())
        reach = math.prod((factor.clamp(min=1) for factor in factors), start=torch.ones_like(x).double())
        off = enlarged * (self.absolute(x) + self.bias_magnitude) + 8 * smallest_one * reach
        known = 16 * reach < torch.finfo(torch.float32).max
        return torch.where(known, off, torch.inf).nan_to_num(torch.inf, torch.inf).to(x)

    @staticmethod
    def example() -> Example:
        """Two channels of one pixel row."""
        lower = torch.tensor([[[[-1.0, 0.0]], [[1.0, 2.0]]]])
        return Example(seeded(nn.BatchNorm2d, 2), lower, lower + 0.5)


def _normalized(call: Call, value: Any, mean: Any, variance: Any, gamma: Any, beta: Any, eps: float) -> Value:
    if not isinstance(value, Value) or any(isinstance(given, Value) for given in (mean, variance, gamma, beta)):
        raise NotCovered("its statistics or weights depend on the input")
    if not bool((variance + eps > 0).all()):
        raise NotCovered("a variance plus eps is not positive, and has no inverse root")
    return call.add(BatchNorm(mean, variance, gamma, beta, eps, len(value.shape)), value)


def by_stored_statistics(call: Call) -> Value:
    """A call of torch's batch or instance norm that uses what was counted in training."""
    if call.get("training") or call["running_mean"] is None:
        raise NotCovered("it uses the statistics of the batch: call model.eval(), and keep running statistics")
    statistics, learned = (call["running_mean"], call["running_var"]), (call["weight"], call["bias"])
    return _normalized(call, call["input"], *statistics, *learned, call["eps"])


@ATEN.register("batch_norm")
def batch_norm(call: Call) -> Value:
    """``torch.nn.functional.batch_norm`` with stored statistics."""
    return by_stored_statistics(call)


@ATEN.register("_native_batch_norm_legit_no_training")
def native_batch_norm(call: Call) -> list[Value]:
    """The same with stored statistics alone, as torch spells it where operators beside it are decomposed."""
    statistics, learned = (call["running_mean"], call["running_var"]), (call["weight"], call["bias"])
    return [_normalized(call, call["input"], *statistics, *learned, call["eps"])]  # statistics of the batch: not known


@ONNX.register("BatchNormalization")
def onnx_batch_normalization(call: Call) -> Value:
    """Normalization by stored statistics, which older versions name otherwise."""
    if call.get("training_mode", 0) or not call.get("spatial", 1) or call.results > 1:  # more of them are a batch's
        raise NotCovered("only batch normalization by channel, outside of training, is covered")
    prefix = "input_" if call.opset >= 14 else ""
    statistics = call[f"{prefix}mean"], call[f"{prefix}var"]
    return _normalized(call, call["X"], *statistics, call["scale"], call["B"], call["epsilon"])
