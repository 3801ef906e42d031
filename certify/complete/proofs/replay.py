"""Replay of proofs: every leaf is bounded again in float64 with error terms; no result of the search is trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.hints import Hint
from certify.bounds.region import Region
from certify.complete.inputs.rows import Planes, free_nodes, refuted, refuted_directly, shares_of
from certify.complete.inputs.split import chunk
from certify.complete.neurons import split as neurons
from certify.complete.neurons.lemmas import Lemma
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.proof import CompleteProof, InputProof, NeuronProof
from certify.complete.proofs.tree import Tree
from certify.errors import BadInput

__all__ = ["replayed"]

MISFIT = "the proof does not fit this network and property, or was cut or changed: "

Progress = Callable[[int, int], None]
"""Called with the number of leaves bounded so far and the total."""


@torch.no_grad()
def replayed(
    problem: VerificationProblem,
    proof: CompleteProof,
    progress: Progress = lambda done, total: None,
    deadline: Deadline = NEVER,
) -> Tensor:
    """Which clauses (regions, clauses) a proof refutes; the claim holds if it refutes all.

    A proof only contains choices: where to split, and which planes and multipliers to bound with. Whatever they are,
    the leaves of a tree cover its root, and the bounds on them are sound. So a tampered proof may show less, but never
    anything false.

    Args:
        problem: what the proof should be about.
        proof: from any source.
        progress: see :data:`Progress`.
        deadline: when to give up.

    Raises:
        OutOfTime: once the deadline passed.
        BadInput: if the proof has other shapes than the problem, or is malformed.
    """
    shape = problem.goals.d.shape[:2]
    _check("its table of clauses", proof.direct, torch.bool, shape)
    total = sum(one.tree.roots + len(one.tree.splits[0]) for one in (proof.inputs, *proof.neurons) if one is not None)
    found = _refuted(problem, proof, lambda done: progress(done, total), deadline)
    for way in problem.graph.ways[1:]:
        if not bool(found.all()):
            found |= _refuted(replace(problem, graph=way), proof, lambda _: None, deadline)
    return found


def _refuted(
    problem: VerificationProblem, proof: CompleteProof, progress: Callable[[int], None], deadline: Deadline
) -> Tensor:
    """The same, by bounds that are found in one way."""
    found = refuted_directly(problem, proof.direct, proof.method, deadline)
    done = 0
    if proof.inputs is not None:
        shown = _by_inputs(problem, proof.inputs, ~found, progress, deadline)
        found[proof.inputs.regions] |= shown
        done = int(proof.inputs.tree.roots + len(proof.inputs.tree.splits[0]))
    for one in proof.neurons:
        shown = _by_neurons(problem, one, deadline)  # validates the indices before they are used here
        found[one.region, one.clauses] |= shown
        done += len(one.tree.leaves())
        progress(done)
    return found


def _by_inputs(
    problem: VerificationProblem,
    proof: InputProof,
    open: Tensor,
    progress: Callable[[int], None],
    deadline: Deadline,
) -> Tensor:
    """Which of the open clauses (regions, clauses), and perhaps others, are refuted on every leaf below a root."""
    count, clauses, rows = problem.goals.d.shape
    tree = Tree.of(proof.tree.roots, proof.tree.splits, math.prod(problem.graph.shape))
    _indices("its regions", proof.regions, (tree.roots,), count)
    if tree.roots == 0:
        return torch.zeros(0, clauses, dtype=torch.bool)
    leaves = torch.from_numpy(tree.leaves())
    _indices("its leaves", proof.nodes, (len(proof.nodes),), tree.size)
    if not bool(torch.isin(proof.nodes, leaves).all()):
        raise BadInput(f"{MISFIT}it has planes for what is no leaf")
    shares = sum(shares_of(node) * math.prod(node.shape) for node in free_nodes(problem.graph))
    _check("its planes", proof.shares, torch.uint8, (len(proof.nodes), clauses, shares))
    _check("its weights", proof.weights, torch.uint8, (len(proof.nodes), clauses, rows))
    box = tree.boxes(problem.region.box.rows(proof.regions))
    root = torch.from_numpy(tree.root())
    place = torch.full((tree.size,), -1).index_copy(0, proof.nodes, torch.arange(len(proof.nodes)))
    # Leaves without planes of their own have place -1: the row of zeros at the end.
    weights = torch.cat([proof.weights, proof.weights.new_zeros(1, clauses, rows)])
    planes = torch.cat([proof.shares, proof.shares.new_zeros(1, clauses, shares)])
    missing, done = torch.zeros(tree.roots, clauses, dtype=torch.long), 0
    for nodes in leaves.split(chunk(problem)):
        region, at = proof.regions[root[nodes]], place[nodes]
        ball = None if problem.region.constraint is None else problem.region.constraint.rows(region)
        part = Region(box.rows(nodes), ball)
        hints = Planes(weights[at], planes[at], at >= 0)
        shown = refuted(problem, part, problem.goals.of(region), hints, open[region], deadline)
        missing.index_add_(0, root[nodes], (~shown).long())
        done += len(nodes)
        progress(done)
    return missing == 0


def _by_neurons(problem: VerificationProblem, proof: NeuronProof, deadline: Deadline) -> Tensor:
    """Which clauses (roots,) of one region are refuted on every leaf below their root."""
    regions, clauses, _ = problem.goals.d.shape
    if not 0 <= proof.region < regions:
        raise BadInput(f"{MISFIT}there is no region {proof.region}")
    _indices("its clauses", proof.clauses, (proof.tree.roots,), clauses)
    for hint in proof.hints:
        _check_hint(problem, hint)
    entries = sum(math.prod(shape) for shape in problem.graph.shapes.values())  # more than can be split
    lemmas = []
    for lemma in proof.lemmas:
        _check_entries(problem, lemma)
        roots = 2 * len(lemma.entries)
        if lemma.tree.roots != roots:
            raise BadInput(f"{MISFIT}it has {lemma.tree.roots} trees for {roots} ends of boxes")
        lemmas.append(replace(lemma, tree=Tree.of(roots, lemma.tree.splits, entries)))
    for leaves in (proof.leaves, *(lemma.leaves for lemma in lemmas)):
        _check("its choices", leaves.free, torch.int64, (len(leaves.free),))
    tree = Tree.of(proof.tree.roots, proof.tree.splits, entries)
    proof = replace(proof, tree=tree, lemmas=tuple(lemmas))
    try:
        return neurons.replayed(problem, proof, deadline)
    except (IndexError, KeyError) as wrong:  # its planes belong to other rows or nodes
        raise BadInput(f"{MISFIT}it has planes of another network") from wrong


def _check_entries(problem: VerificationProblem, bounds: Hint | Lemma) -> None:
    if bounds.name not in problem.graph.shapes:
        raise BadInput(f"{MISFIT}it bounds {bounds.name!r}, which is no result of the network")
    _indices("its entries", bounds.entries, (len(bounds.entries),), math.prod(problem.graph.shapes[bounds.name]))


def _check_hint(problem: VerificationProblem, hint: Hint) -> None:
    _check_entries(problem, hint)
    if any(shares.dtype != torch.uint8 for shares in hint.shares.values()):
        raise BadInput(f"{MISFIT}it has planes that are no whole numbers up to 255")


def _indices(name: str, values: Tensor, shape: tuple[int, ...], count: int) -> None:
    """Refuse anything but distinct indices below ``count``."""
    _check(name, values, torch.int64, shape)
    if bool(((values < 0) | (values >= count)).any()) or len(values.unique()) != len(values):
        raise BadInput(f"{MISFIT}{name} are not different numbers from 0 to {count - 1}")


def _check(name: str, values: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if values.dtype != dtype or values.shape != shape:
        raise BadInput(f"{MISFIT}{name} are {values.dtype} {tuple(values.shape)} and should be {dtype} {tuple(shape)}")
