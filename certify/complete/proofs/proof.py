"""Proofs that somebody else can check: which regions were cut where, and with which planes each part was bounded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from certify.bounds.hints import Hint
from certify.complete.neurons.leaves import Leaves
from certify.complete.proofs.tree import Tree

__all__ = ["CompleteProof", "InputProof", "NeuronProof"]


@dataclass(frozen=True, slots=True, eq=False)
class InputProof:
    """Boxes of inputs, on each of which CROWN refutes all open clauses, if need be with planes of its own.

    Args:
        regions: (roots,) the regions of the problem that are the roots of the tree.
        tree: how they were cut; entries are flat indices of the input.
        nodes: (m,) the leaves that have planes of their own.
        weights, shares: which they are, for one row of each clause: (m, clauses, rows) parts of a sum of its rows, and
            (m, clauses, shares of all neurons), whole numbers up to 255.
    """

    regions: Tensor
    tree: Tree
    nodes: Tensor
    weights: Tensor
    shares: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NeuronProof:
    """One region whose clauses were refuted by splitting neurons.

    Args:
        region: index in the problem.
        clauses: (roots,) the clauses that are the roots of the tree.
        hints: the planes that bound all intermediate results over the whole region.
        tree: how it was cut; entries count through all results that can be split, in the order of the graph.
        leaves: the planes and multipliers of each leaf.
    """

    region: int
    clauses: Tensor
    hints: tuple[Hint, ...]
    tree: Tree
    leaves: Leaves


@dataclass(frozen=True, slots=True, eq=False)
class CompleteProof:
    """Everything that a replay needs, of every clause over every region.

    Args:
        method: the bound method that refutes the clauses of ``direct`` over whole regions.
        direct: (regions, clauses) mask.
        inputs: further clauses, all that are open in the regions it names.
        neurons: further clauses of single regions.
    """

    method: str
    direct: Tensor
    inputs: InputProof | None = None
    neurons: tuple[NeuronProof, ...] = ()

    @property
    def open(self) -> Tensor:
        """The clauses (regions, clauses) that nothing here refutes."""
        left = ~self.direct
        if self.inputs is not None:
            left = left.index_fill(0, self.inputs.regions, False)
        for one in self.neurons:
            left = left.clone()
            left[one.region, one.clauses] = False
        return left
