"""Trees of binary splits, which searches grow and replays walk down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounded.memory import check_room
from certify.bounds.tensors import Interval, flat
from certify.errors import BadInput

__all__ = ["Tree"]

Splits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Nodes (n,), the entries (n,) they are split at, and the values (n,)."""


@dataclass(slots=True, eq=False)
class Tree:
    """A forest of binary splits. Nodes are numbered in order of creation: the roots, then two children for each split.

    The first child holds the points at or below the value of the split, the second those at or above it. So points on
    the cut belong to both, and together the children cover their parent.

    Args:
        roots: the number of roots.

    >>> tree = Tree(1)
    >>> tree.grow(np.array([0]), np.array([3]), np.array([0.5])).tolist()
    [1]
    >>> tree.leaves().tolist()
    [1, 2]
    """

    roots: int
    _splits: list[Splits] = field(default_factory=list)
    _size: int = 0

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return self.roots + 2 * self._size

    def grow(self, nodes: NDArray[np.int64], entries: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.int64]:
        """Split leaves (n,) at flat entries (n,) and values (n,); returns the numbers of the first children."""
        first = self.size + 2 * np.arange(len(nodes), dtype=np.int64)
        self._splits.append((nodes, entries, at))
        self._size += len(nodes)
        return first

    @property
    def splits(self) -> Splits:
        """All splits in the order in which they were made."""
        empty: Splits = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
        nodes, entries, at = zip(empty, *self._splits, strict=True)
        return np.concatenate(nodes), np.concatenate(entries), np.concatenate(at)

    @classmethod
    def of(cls, roots: int, splits: Splits, entries: int) -> Tree:
        """A tree from splits of unknown origin, after validation.

        Args:
            roots, splits: as kept.
            entries: how many entries there are to split.

        Raises:
            BadInput: if the splits do not form a tree.
        """
        nodes, at, values = splits
        born = roots + 2 * np.arange(len(nodes))
        if (
            not len(nodes) == len(at) == len(values)
            or len(np.unique(nodes)) != len(nodes)
            or not bool(((nodes >= 0) & (nodes < born) & (at >= 0) & (at < entries) & np.isfinite(values)).all())
        ):
            raise BadInput("the splits of a proof are no tree: they were cut or changed")
        tree = cls(roots)
        tree.grow(nodes, at, values)
        return tree

    def leaves(self) -> NDArray[np.int64]:
        """The nodes that were not split, ascending."""
        return np.setdiff1d(np.arange(self.size), self.splits[0])

    def root(self) -> NDArray[np.int64]:
        """The root above each node."""
        root = np.arange(self.size)
        for i, node in enumerate(self.splits[0].tolist()):
            root[self.roots + 2 * i : self.roots + 2 * i + 2] = root[node]
        return root

    def depth(self) -> NDArray[np.int64]:
        """The number of splits above each node."""
        depth = np.zeros(self.size, np.int64)
        for i, node in enumerate(self.splits[0].tolist()):
            depth[self.roots + 2 * i : self.roots + 2 * i + 2] = depth[node] + 1
        return depth

    def boxes(self, box: Interval) -> Interval:
        """The boxes (size, ...) of all nodes, given those of the roots, if inputs were split.

        Raises:
            BadInput: if they take more memory than there is to spare.
        """
        check_room("a proof", 2 * self.size * math.prod(box.shape[1:]) * box.lower.element_size())
        lower, upper = (
            torch.cat([flat(end, 1), end.new_empty(2 * self._size, end[0].numel())]) for end in (box.lower, box.upper)
        )
        for i, (node, entry, at) in enumerate(zip(*(part.tolist() for part in self.splits), strict=True)):
            first = self.roots + 2 * i
            lower[first : first + 2], upper[first : first + 2] = lower[node], upper[node]
            upper[first, entry], lower[first + 1, entry] = at, at
        shape = (-1, *box.shape[1:])
        return Interval(lower.reshape(shape), upper.reshape(shape))
