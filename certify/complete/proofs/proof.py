"""The form of proofs: where regions were split, and with which planes each part was bounded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from certify.bounds.hints import Hint
from certify.complete.neurons.leaves import Leaves
from certify.complete.neurons.lemmas import Lemma
from certify.complete.proofs.tree import Tree

__all__ = ["CompleteProof", "InputProof", "NeuronProof"]


@dataclass(frozen=True, slots=True, eq=False)
class InputProof:
    """Boxes of inputs; CROWN, some with planes found by a search, refutes all open clauses on each.

    Args:
        regions: (roots,) indices of the problem's regions that are the roots of the tree.
        tree: how they were cut; entries are flat indices of the input.
        nodes: (m,) the leaves with planes found by a search.
        weights, shares: these planes, as integers up to 255. They bound one combination of each clause's rows: its
            weights are (m, clauses, rows), the shares of its planes (m, clauses, shares of all neurons).
    """

    regions: Tensor
    tree: Tree
    nodes: Tensor
    weights: Tensor
    shares: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NeuronProof:
    """The refutation of clauses of one region by splitting neurons.

    Args:
        region: index in the problem.
        clauses: (roots,) the clauses, one root of the tree each.
        hints: the planes that bound all intermediate results over the whole region.
        tree: the splits; entries are numbered through all results that can be split, in the order of the graph.
        leaves: planes and multipliers of each leaf.
        lemmas: the splits that bound intermediate results over the whole region, after the hints did.
    """

    region: int
    clauses: Tensor
    hints: tuple[Hint, ...]
    tree: Tree
    leaves: Leaves
    lemmas: tuple[Lemma, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CompleteProof:
    """What a replay needs to refute every clause over every region.

    Args:
        method: the bound method that refutes the clauses in ``direct`` over whole regions.
        direct: (regions, clauses) mask.
        inputs: refutes all other clauses of the regions that it names.
        neurons: each refutes other clauses of one region.
    """

    method: str
    direct: Tensor
    inputs: InputProof | None = None
    neurons: tuple[NeuronProof, ...] = ()

    @property
    def open(self) -> Tensor:
        """Mask (regions, clauses) of the clauses that no part of the proof is about."""
        left = ~self.direct
        if self.inputs is not None:
            left = left.index_fill(0, self.inputs.regions, False)
        for one in self.neurons:
            left = left.clone()
            left[one.region, one.clauses] = False
        return left
