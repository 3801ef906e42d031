"""Rows of a constant table, looked up by token ids: an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from certify.bounds.contract import Example, seeded
from certify.bounds.rules.base import ATEN, RULES, Call, Nonlinear, NotCovered, Value
from certify.bounds.rules.select import moved
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Lookup"]


@RULES.register("lookup")
@dataclass(frozen=True, slots=True, eq=False)
class Lookup(Nonlinear):
    """Entry i of row x of a table, for whole numbers x at places (..., i): numbers are moved, and nothing is rounded.

    It reads whole numbers only. Of others it takes the nearest row, as boxes around whole numbers may be a little wider
    than these. On a box with more than one row, all rows are possible; words that are replaced by others are bounded
    over their sets instead, see :mod:`certify.bounds.choices`.

    Args:
        table: the rows (tokens, features).
    """

    kind: ClassVar[str] = "lookup"
    table: Tensor

    @property
    def uniform(self) -> bool:
        """Each feature has a column of its own."""
        return False

    def forward(self, *inputs: Tensor) -> Tensor:
        """The rows; NaN for numbers that no row has."""
        [x] = inputs
        (rows, features), nearest = self.table.shape, x.round()
        known = (nearest >= 0) & (nearest < rows)
        place = torch.where(known, nearest, 0.0).long().reshape(-1, features)
        found = self.table.gather(0, place).reshape(x.shape)
        return torch.where(known, found, torch.nan)

    def undefined(self, *boxes: Interval) -> Tensor:
        """Where numbers may be reached that no row has."""
        return (boxes[0].lower.round() < 0) | (boxes[0].upper.round() >= len(self.table))

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The row, or all rows."""
        [box] = boxes
        single = ~self.bent(box)
        found = self.forward(box.lower)
        low, high = (end.expand(found.shape) for end in (self.table.amin(dim=0), self.table.amax(dim=0)))
        return Interval.known(torch.where(single, found, low), torch.where(single, found, high))

    def executed(self, *boxes: Interval) -> None:
        """No arithmetic, no rounding."""

    def bent(self, *boxes: Interval) -> Tensor:
        """Where more than one row is possible."""
        return boxes[0].lower.round() < boxes[0].upper.round()

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """The ends of the interval."""
        image = self.interval(*boxes, outward=True)
        flat = torch.zeros_like(image.lower)
        return Relaxation((flat,), image.lower, (flat,), image.upper)

    @staticmethod
    def example() -> Example:
        """Single rows, and boxes of several."""
        lower = torch.tensor([[0.0, 1.0, 2.0]])
        return Example(seeded(_Embedded), lower, lower + torch.tensor([0.0, 1.0, 2.0]))


class _Embedded(nn.Module):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(5, 2, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.embedding(x.long(), self.table).flatten(1)


@ATEN.register("embedding")
def embedding(call: Call) -> Value:
    """``torch.nn.functional.embedding`` of a constant table; whatever reads other rows than it has is refused."""
    table, value = call["weight"], call["indices"]
    if not isinstance(value, Value) or isinstance(table, Value):
        raise NotCovered("its table depends on the input")
    features = table.shape[1]
    along = moved(call, value, lambda numbers: numbers.unsqueeze(-1).expand(*numbers.shape, features))
    assert isinstance(along, Value)
    return call.add(Lookup(table), along)
