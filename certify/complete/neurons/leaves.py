"""What bounds the leaves of a tree of split neurons: enough to derive every bound again without the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.parts import Parts
from certify.complete.proofs.tree import Tree
from certify.errors import BadInput

__all__ = ["Leaves", "paths"]

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
            BadInput: if the numbers are not those of this tree, of these neurons.
        """
        nodes = tree.leaves()
        entries, at, side = paths(tree, nodes)
        beta = torch.zeros(at.shape)
        fits = (
            self.shares.dtype == torch.uint8
            and self.shares.shape == (len(nodes), len(self.free))
            and self.weights.shape == (len(nodes), neurons.goals.d.shape[2])
            and len(self.beta) == int((side != 0).sum())
            and all(_indices(*pair) for pair in ((self.free, neurons.choices), (entries, max(1, neurons.count))))
            and _indices(clauses, neurons.goals.d.shape[1])
            and (neurons.count > 0 or not bool((side != 0).any()))
        )
        if not fits:
            raise BadInput(REFUSED)
        beta[side != 0] = self.beta
        return Parts(clauses[torch.from_numpy(tree.root()[nodes])], self.weights, entries, at, side, beta, self.shares)


def _indices(values: Tensor, count: int) -> bool:
    return bool(((values >= 0) & (values < count)).all())


def paths(tree: Tree, nodes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Tensor, Tensor, Tensor]:
    """Entries, values and sides (nodes, depth) of the splits on the way to each node; sides are 0 after the last."""
    parents, entries, values = tree.splits
    columns, here = [], nodes
    while bool((here >= tree.roots).any()):
        inner = here >= tree.roots
        split = np.where(inner, (here - tree.roots) // 2, 0)
        side = np.where(inner, 2 * ((here - tree.roots) % 2) - 1, 0)
        columns.append((np.where(inner, entries[split], 0), np.where(inner, values[split], 0.0), side))
        here = np.where(inner, parents[split], here)
    filled = [np.zeros((len(nodes), len(columns)), kind) for kind in (np.int64, np.float64, np.int8)]
    depth = np.zeros(len(nodes), np.int64)
    for column in reversed(columns):
        [rows] = column[2].nonzero()
        for whole, part in zip(filled, column, strict=True):
            whole[rows, depth[rows]] = part[rows]
        depth[rows] += 1
    entry, value, signs = (torch.from_numpy(whole) for whole in filled)
    return entry, value, signs
