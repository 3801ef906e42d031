"""What bounds the leaves of a tree of split neurons: enough to derive every bound again without the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.parts import Parts
from certify.complete.proofs.tree import Tree
from certify.errors import BadInput

__all__ = ["Leaves", "paths"]

SPLIT = 24
"""Bytes that each split on the way to a leaf takes: where, at what, which side, its multiplier, and masks."""

REFUSED = "the leaves of a proof cannot be read: they were cut or changed"


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """Planes and multipliers of all leaves of a tree, in the order of its nodes.

    Args:
        free: (free,) which shares the leaves choose, among those of all planes.
        shares: (leaves, free) uint8.
        weights: (leaves, rows) float32 of each clause's rows.
        beta: float32, for each leaf one a split on the way to it from its root.
    """

    free: Tensor
    shares: Tensor
    weights: Tensor
    beta: Tensor

    @classmethod
    def of(cls, free: Tensor, nodes: Tensor, parts: Parts) -> Leaves:
        """Those of parts that are leaves, at nodes (leaves,) of the tree in any order."""
        ordered = parts.of(nodes.argsort())
        return cls(free, ordered.shares, ordered.weights, ordered.beta[ordered.side != 0])

    def parts(self, tree: Tree, clauses: Tensor, neurons: Neurons) -> Parts:
        """The parts that the leaves are, of a tree whose roots are clauses.

        Raises:
            BadInput: if the numbers are not those of this tree, of these neurons, or if the paths take more memory than
                there is to spare.
        """
        nodes = tree.leaves()
        fits = (
            self.shares.dtype == torch.uint8
            and self.shares.shape == (len(nodes), len(self.free))
            and self.weights.shape == (len(nodes), neurons.goals.d.shape[2])
            and len(self.beta) == int(tree.depth()[nodes].sum())
            and _indices(self.free, neurons.choices)
            and _indices(torch.from_numpy(tree.splits[1]), neurons.count)
            and _indices(clauses, neurons.goals.d.shape[1])
        )
        if not fits:
            raise BadInput(REFUSED)
        entries, at, side = paths(tree, nodes)
        beta = torch.zeros(at.shape)
        beta[side != 0] = self.beta
        return Parts(clauses[torch.from_numpy(tree.root()[nodes])], self.weights, entries, at, side, beta, self.shares)


def _indices(values: Tensor, count: int) -> bool:
    return bool(((values >= 0) & (values < count)).all())


def paths(tree: Tree, nodes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Tensor, Tensor, Tensor]:
    """Entries, values and sides (nodes, depth) of the splits on the way to each node; sides are 0 after the last.

    Raises:
        BadInput: if they take more memory than there is to spare: a chain of splits is short to write.
    """
    parents, entries, values = tree.splits
    place, here = tree.depth()[nodes], nodes.copy()
    shape = len(nodes), int(place.max(initial=0))
    check_room("a proof", SPLIT * shape[0] * shape[1])
    entry, value, side = (np.zeros(shape, kind) for kind in (np.int64, np.float64, np.int8))
    while len(rows := place.nonzero()[0]):  # upwards, and so from the last place to the first
        place[rows] -= 1
        split, second = np.divmod(here[rows] - tree.roots, 2)
        cells = rows, place[rows]
        entry[cells], value[cells], side[cells] = entries[split], values[split], 2 * second - 1
        here[rows] = parents[split]
    return torch.from_numpy(entry), torch.from_numpy(value), torch.from_numpy(side)
