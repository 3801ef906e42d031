"""Few: coefficients of rows that depend on few entries of a result, as scores of attention do on their products."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from certify.bounds.rules.base import Affine, Shape
from certify.bounds.tensors import flat

__all__ = ["Few"]

LARGEST = 0.25
"""Rows that reach a larger part of a result are held whole: gathering an entry takes as long as several products."""


@dataclass(frozen=True, slots=True, eq=False)
class Few:
    """Coefficients (b, r, k) of some entries of a result; those of all others are 0.

    Args:
        A: the coefficients.
        entries: (b or 1, r, k) their row-major indices. Where a row lists an entry again, that coefficient is 0.
        shape: per-sample shape of the result.
    """

    A: Tensor
    entries: Tensor
    shape: Shape

    @classmethod
    def one_hot(cls, entries: Tensor, shape: Shape, dtype: torch.dtype) -> Few:
        """Rows (1, r) that are single entries (r,) of a result."""
        places = entries.reshape(1, -1, 1)
        return cls(torch.ones(places.shape, dtype=dtype, device=entries.device), places, shape)

    @property
    def large(self) -> bool:
        """Whether whole results would be cheaper to work with."""
        return self.A.shape[2] > LARGEST * math.prod(self.shape)

    @property
    def inside(self) -> bool:
        """Whether all coefficients are of entries of the result."""
        return True

    def masked(self) -> Few:
        """The same rows."""
        return self

    def holding(self, A: Tensor, inside: bool = True) -> Few:
        """Other coefficients of the same entries."""
        return replace(self, A=A)

    def both_signs(self) -> Few:
        """The rows, then their negatives."""
        return replace(self, A=torch.cat([self.A, -self.A], dim=1), entries=self.entries.repeat(1, 2, 1))

    def chosen(self, rows: Tensor) -> Few:
        """Rows (b, r) of those of one sample; of (1, r) where they are the same for all samples."""
        if bool((rows == rows[:1]).all()):
            rows = rows[:1]
        return replace(self, A=self.A[0][rows], entries=self.entries[0][rows])

    def of(self, values: Tensor) -> Tensor:
        """The entries of each row (b or 1, r, k) among its sample's values (b or 1, ...)."""
        values, (_, rows, count) = flat(values, 1), self.entries.shape
        if len(self.entries) == 1:
            return values.index_select(1, self.entries.flatten()).reshape(-1, rows, count)
        return values.expand(len(self.entries), -1).gather(1, self.entries.flatten(1)).reshape(-1, rows, count)

    def __add__(self, other: Few) -> Few:
        """The sum of the same rows."""
        count = max(len(self.entries), len(other.entries)), max(len(self.A), len(other.A))
        entries = [one.entries.expand(count[0], -1, -1) for one in (self, other)]
        values = [one.A.expand(count[1], -1, -1) for one in (self, other)]
        return replace(self, A=torch.cat(values, 2), entries=torch.cat(entries, 2)).merged()

    def merged(self) -> Few:
        """The same rows once the coefficients of an entry that is listed several times are added up."""
        entries, slots = _distinct(self.entries)
        return self if slots is None else replace(self, A=_added(self.A, slots, entries.shape[2]), entries=entries)

    def through(self, operator: Affine, shapes: tuple[Shape, ...]) -> list[Few] | None:
        """One backward step through an affine operator that reads results of ``shapes``; None if rows grow whole."""
        if all(shape == self.shape for shape in shapes) and (operator.separable or len(shapes) > 1):
            # Each output entry reads the same entry of each input, so the adjoint multiplies by factors.
            ones = self.A.new_ones(1, *self.shape)
            return [self.holding(self.A * self.of(factor)) for factor in operator.adjoint(ones, shapes)]
        if len(shapes) > 1:
            return None
        if len(self.shape) > 1 and (line := operator.line()) is not None:
            return [self._through_lines(line, shapes[0])]
        if (read := operator.reads(self.entries, shapes[0])) is None:
            return None
        places, weights = read
        A = self.A.unsqueeze(3)
        A = A.expand(*A.shape[:3], places.shape[3]) if weights is None else A * weights
        found = Few(A.flatten(2), places.flatten(2), shapes[0])
        return [found.merged() if operator.overlaps and self.A.shape[2] > 1 else found]

    def _through_lines(self, line: Affine, shape: Shape) -> Few:
        """The same through one that is applied to each line along the last axis: few lines, and whole ones."""
        leaving, entering = self.shape[-1], shape[-1]
        lines, slots = _distinct(self.entries // leaving)
        if slots is None:  # each entry has a line of its own
            slots = torch.arange(lines.shape[2], device=lines.device)
        whole = _added(self.A, slots * leaving + self.entries % leaving, lines.shape[2] * leaving)
        [part] = line.adjoint(whole.reshape(-1, leaving), ((entering,),))
        entries = lines.unsqueeze(3) * entering + torch.arange(entering, device=lines.device)
        return Few(part.reshape(*whole.shape[:2], -1), entries.flatten(2), shape)

    def dense(self) -> Tensor:
        """Coefficients of the whole result, (b, r, *shape)."""
        whole = _added(self.A, self.entries, math.prod(self.shape))
        return whole.reshape(*whole.shape[:2], *self.shape)


def _distinct(places: Tensor) -> tuple[Tensor, Tensor | None]:
    """The different numbers of each row (b, r, k), and where each number is among them; None if all are as they were.

    Rows with fewer than others repeat their least.
    """
    if places.shape[2] == 1:
        return places, None
    ordered, order = places.sort(dim=2)
    rank = torch.cat([torch.zeros_like(ordered[..., :1]), ordered.diff(dim=2).ne(0).cumsum(2)], 2)
    last = rank[..., -1]
    if int(last.min()) + 1 == places.shape[2]:
        return places, None
    count = int(last.max()) + 1
    slots = torch.empty_like(order).scatter_(2, order, rank)
    distinct = ordered[..., :1].expand(*places.shape[:2], count).clone()
    return distinct.scatter_(2, slots, places), slots


def _added(A: Tensor, slots: Tensor, count: int) -> Tensor:
    """Coefficients (b or 1, r, k) added up by slot, (b or 1, r, count)."""
    size = max(len(A), len(slots)), A.shape[1]
    return A.new_zeros(*size, count).scatter_add_(2, slots.expand(*size, -1), A.expand(*size, -1))
