"""Softmax along an axis, as ``1 / sum_j exp(x_j - x_i)`` (Wei et al. 2023 compare such decompositions).

Of two entries it is a sigmoid of their difference and the rest of 1: one curve where that has four in turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from certify.bounds.contract import Example
from certify.bounds.rounding import down, up
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Call, NotCovered, Shape, Value
from certify.bounds.rules.exp import Exp
from certify.bounds.rules.power import Power
from certify.bounds.rules.reduce import Reduce
from certify.bounds.rules.reshape import onnx_along
from certify.bounds.rules.scale_shift import one_sample
from certify.bounds.rules.select import placed
from certify.bounds.rules.sigmoid import Sigmoid
from certify.bounds.tensors import Interval

__all__ = ["Differences", "TwoShares", "softmax"]


@RULES.register("two_shares")
@dataclass(frozen=True, slots=True, eq=False)
class TwoShares(Affine):
    """``(s, 1 - s)``, joined along an axis of length 1: rows see that both add up to 1, whatever s is.

    Args:
        axis: of a sample.
        bias: 0 and 1 along that axis, in one sample's shape or what broadcasts to it.
    """

    kind: ClassVar[str] = "two_shares"
    forward_terms = 1  # the difference
    adjoint_terms = 1  # the difference
    axis: int
    bias: Tensor

    @classmethod
    def along(cls, axis: int, rank: int, dtype: torch.dtype) -> TwoShares:
        """For samples of so many axes."""
        return cls(axis, torch.tensor([0.0, 1.0], dtype=dtype).reshape(2, *(1,) * (rank - 1 - axis)))

    def _joined(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second], dim=self.axis + 1)

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return self._joined(inputs[0], -inputs[0]) + self.bias

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Weights of 1 and -1."""
        return self._joined(inputs[0], inputs[0])

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """One difference an end. What is left of 1 by a number from 0 to 1 is one of these, too."""
        [box], (zero, one) = boxes, self.bias
        if bool((zero != 0).any() or (one != 1).any()):
            return Affine.interval(self, *boxes, outward=outward)
        lower, upper = 1 - box.upper, 1 - box.lower
        if outward:
            lower = torch.where(box.upper <= 1, down(lower).clamp(min=0), down(lower))
            upper = torch.where(box.lower >= 0, up(upper).clamp(max=1), up(upper))
        return Interval.known(self._joined(box.lower, lower), self._joined(box.upper, upper))

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """What the first gets, less what the second gets."""
        first, second = A.split(1, dim=self.axis + 1)
        return (first - second,)

    @staticmethod
    def example() -> Example:
        """A softmax of pairs, along the first of two axes."""
        lower = torch.tensor([[[-1.0, 0.0, 3.0], [0.5, 0.2, -2.0]]])
        return Example(nn.Softmax(dim=1), lower, lower + torch.tensor([0.5, 0.1, 2.0]))


@RULES.register("differences")
@dataclass(frozen=True, slots=True, eq=False)
class Differences(Affine):
    """``y_ij = x_j - x_i`` along one axis, which becomes two: i, then j.

    The difference of an entry and itself is exactly 0, so every x_j enters at most one y_ij. So interval arithmetic on
    sums of monotone functions of the y_ij attains its ends at corners of the box.

    Args:
        axis: of a sample.
        count: its length n.
    """

    kind: ClassVar[str] = "differences"
    forward_terms = 1  # the difference
    axis: int
    count: int

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_j and x_i, with axes that broadcast."""
        return x.unsqueeze(self.axis + 1), x.unsqueeze(self.axis + 2)

    def _others(self, y: Tensor) -> Tensor:
        """Zero where i = j."""
        same = torch.eye(self.count, dtype=torch.bool, device=y.device)
        same = same.reshape(same.shape + (1,) * (y.dim() - self.axis - 3))
        return y.masked_fill(same, 0.0)

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        other, own = self._pairs(inputs[0])
        return self._others(other - own)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """The sums."""
        other, own = self._pairs(inputs[0])
        return self._others(other + own)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """One difference an end, one rounding each."""
        (least, own_least), (most, own_most) = self._pairs(boxes[0].lower), self._pairs(boxes[0].upper)
        lower, upper = least - own_most, most - own_least
        if outward:
            lower, upper = down(lower), up(upper)
        return Interval.known(self._others(lower), self._others(upper))

    def executed(self, *boxes: Interval) -> Tensor:
        """Nothing: executions compute softmax in other ways."""
        raise NotCovered("float32 executions of a softmax round in other places than its bounds")

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """What each entry gets as j, less what it gets as i."""
        A = self._others(A)
        return (A.sum(self.axis + 1) - A.sum(self.axis + 2),)

    def reads(self, entries: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        """x_j and x_i, with weights 1 and -1, or 0 where they are the same."""
        behind, n = math.prod(shape[self.axis + 1 :]), self.count
        ahead, own, other = entries // (n * n * behind), entries // (n * behind) % n, entries // behind % n
        places = [(ahead * n + one) * behind + entries % behind for one in (other, own)]
        apart = (own != other).to(torch.int8)
        return torch.stack(places, -1), torch.stack([apart, -apart], -1)

    def opposite(self, shape: Shape) -> Tensor:
        """The entry that is the negative of each, y_ji of y_ij, (n,), for an input of ``shape``."""
        numbers = torch.arange(math.prod(shape) * self.count)
        return numbers.reshape(*shape[: self.axis + 1], self.count, -1).transpose(self.axis, self.axis + 1).flatten()

    @property
    def adjoint_terms(self) -> int:
        """Two sums of n."""
        return 2 * self.count

    @staticmethod
    def example() -> Example:
        """Along the first of two axes."""
        lower = torch.tensor([[[-1.0, 0.0], [0.5, 0.2], [0.3, -0.4]]])
        return Example(nn.Softmax(dim=1), lower, lower + torch.tensor([0.5, 0.1]))


def softmax(call: Call, value: Value, axis: int, mask: Tensor | None = None) -> Value:
    """Softmax along an axis of a sample, over the entries where a constant mask holds; the others become 0."""
    if mask is not None:
        mask = one_sample(call, mask, len(value.shape)).expand(value.shape)
        if not bool(mask.any(dim=axis).all()):
            raise NotCovered("a mask leaves nothing")
    differences = call.add(Differences(axis, value.shape[axis]), value)
    if mask is None and value.shape[axis] == 2:
        return _of_two(call, differences, axis)
    terms = call.add(Exp(), differences)
    if mask is not None:
        # Shares that will be masked keep all their terms, so that their sums do not vanish.
        terms = _kept(call, terms, mask.unsqueeze(axis) | ~mask.unsqueeze(axis + 1))
    total = call.add(Reduce(terms.shape, (axis + 1,)), terms)
    shares = call.add(Power(-1.0), total)
    return shares if mask is None else _kept(call, shares, mask)


def _of_two(call: Call, differences: Value, axis: int) -> Value:
    numbers = torch.arange(math.prod(differences.shape)).reshape(differences.shape)
    first_less_second = placed(call, differences, numbers.narrow(axis, 1, 1).select(axis + 1, 0))
    return call.add(
        TwoShares.along(axis, len(differences.shape) - 1, call.dtype), call.add(Sigmoid(), first_less_second)
    )


def _kept(call: Call, value: Value, mask: Tensor) -> Value:
    """Zero where a mask is false, selected rather than multiplied: executions may overflow there."""
    return placed(call, value, torch.arange(mask.numel()).reshape(mask.shape).masked_fill(~mask, -1))


@ATEN.register("softmax")
@ATEN.register("_softmax")
@ATEN.register("special_softmax")
def torch_softmax(call: Call) -> Value:
    """``torch.softmax``."""
    return softmax(call, call["self"], call.axis(call["dim"], call["self"]))


@ONNX.register("Softmax")
def onnx_softmax(call: Call) -> Value:
    """Along one axis; before opset 13 over all axes from there on."""
    return onnx_along(call, softmax)
