"""Planes and multipliers of the leaves of a tree of split neurons, from which every bound can be derived again."""

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

SPLIT_BYTES = 24
"""Memory that each split above a leaf takes: entry, value, side, multiplier, and masks."""

REFUSED = "the leaves of a proof cannot be read: they were cut or changed"


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """Planes and multipliers of all leaves of a tree, in the order of its nodes.

    Args:
        free: (free,) indices of the shares that the leaves choose, among those of all planes.
        shares: (leaves, free) uint8.
        weights: (leaves, rows) float32 weights of each clause's rows.
        beta: float32 multipliers of all leaves in order, one for each split between the root and the leaf.
    """

    free: Tensor
    shares: Tensor
    weights: Tensor
    beta: Tensor

    @classmethod
    def of(cls, free: Tensor, nodes: Tensor, parts: Parts) -> Leaves:
        """From the parts at the leaves, whose nodes (leaves,) come in any order."""
        ordered = parts.of(nodes.argsort())
        return cls(free, ordered.shares, ordered.weights, ordered.beta[ordered.side != 0])

    def parts(self, tree: Tree, clauses: Tensor, neurons: Neurons) -> Parts:
        """The leaves as parts; the roots of the tree are clauses.

        Raises:
            BadInput: if the numbers do not fit this tree and these neurons, or the paths take more memory than there is
                to spare.
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
    """Entries, values and sides (nodes, depth) of the splits above each node, padded with side 0.

    Raises:
        BadInput: if they take more memory than there is to spare, as a long chain of splits in a short text would.
    """
    parents, entries, values = tree.splits
    place, here = tree.depth()[nodes], nodes.copy()
    shape = len(nodes), int(place.max(initial=0))
    check_room("a proof", SPLIT_BYTES * shape[0] * shape[1])
    entry, value, side = (np.zeros(shape, kind) for kind in (np.int64, np.float64, np.int8))
    while len(rows := place.nonzero()[0]):  # upwards, and so from the last place to the first
        place[rows] -= 1
        split, second = np.divmod(here[rows] - tree.roots, 2)
        cells = rows, place[rows]
        entry[cells], value[cells], side[cells] = entries[split], values[split], 2 * second - 1
        here[rows] = parents[split]
    return torch.from_numpy(entry), torch.from_numpy(value), torch.from_numpy(side)
