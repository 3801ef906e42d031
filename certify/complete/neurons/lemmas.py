"""Boxes of intermediate results, tightened by splitting the neurons before them.

Planes alone leave a box at best as tight as the linear relaxation of everything before it, and these losses multiply
from layer to layer. Splitting a few neurons for each end of each box removes most of them: what is then left to branch
over is a fraction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.alpha_crown import proven_layers, tightened
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.hints import Hint
from certify.bounds.ibp import bent
from certify.bounds.layers import Layers
from certify.bounds.region import Region
from certify.bounds.tensors import Interval, flat
from certify.complete.neurons.branching import branch
from certify.complete.neurons.leaves import Leaves
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.optimize import RATE, optimize_parts
from certify.complete.neurons.parts import Parts, lower_bounds
from certify.complete.pieces import pieces
from certify.complete.problem import Goals
from certify.complete.proofs.tree import Tree
from certify.complete.workers import Workers
from certify.core.evidence import Claim

__all__ = ["Lemma", "known_layers", "search_lemmas"]

STEPS = 10
"""Optimization steps for each part."""

BATCH_PARTS = 256
"""Parts that are bounded in one round, if there are not more rows than that."""

GOAL_NUMBERS = 2**26
"""The most numbers that the rows of one lemma may have."""

LEAVES_BYTES = 2**28
"""Memory for the shares of one lemma's leaves."""

PIECE_PARTS = 256
"""Parts that one process optimizes at a time, or that are bounded at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Lemma:
    """Bounds of some entries of one result over a region: each is the least of the bounds on its leaves.

    Args:
        name: the result.
        entries: (r,) its entries. The tree has a root for each, and then one for the negative of each.
        tree: the splits; entries are numbered through all results before this one that can be split.
        leaves: planes and multipliers of each leaf.
    """

    name: str
    entries: Tensor
    tree: Tree
    leaves: Leaves


def known_layers(
    graph: Graph,
    region: Region,
    hints: Sequence[Hint],
    lemmas: Sequence[Lemma],
    *,
    claim: Claim | None,
    deadline: Deadline = NEVER,
) -> Layers:
    """Boxes of all results of one region from planes and lemmas; with error terms if there is a claim.

    Raises:
        BadInput, IndexError, KeyError: if they do not fit the network.
        OutOfTime: once the deadline passed.
    """
    return proven_layers(graph, region, hints, claim=claim, deadline=deadline, further=partial(_shown, lemmas))


def search_lemmas(
    graph: Graph,
    region: Region,
    hints: Sequence[Hint],
    most: int,
    part: Deadline,
    deadline: Deadline,
    workers: int,
) -> tuple[tuple[Lemma, ...], int]:
    """Tighten the boxes of all results over one region, in order; also the number of parts bounded.

    Args:
        graph: the network in float32.
        region: the inputs.
        hints: planes that bound the results.
        most: parts bounded for one result before the next one's turn. A result that takes more from the start keeps
            its box.
        part: once it passed, later results keep the boxes that they have.
        deadline: the time limit of the whole search.
        workers: processes; no result depends on it.
    """
    found: list[_Rows] = []

    def search(layers: Layers, name: str, box: Interval) -> Interval:
        [open] = flat(bent(layers, name), 1)
        [entries] = open.nonzero(as_tuple=True)
        count = 2 * len(entries)
        if part.passed or not 0 < count <= most or count * len(open) > GOAL_NUMBERS:
            return box
        neurons = _before(layers, name, entries)
        if not len(neurons.free):
            return box
        with Workers(workers, deadline, neurons) as crew:
            rows = _Rows(neurons, name, entries, crew)
            rows.begin([hint for hint in hints if hint.name == name], deadline)
            room = min(most, LEAVES_BYTES // len(neurons.free))
            while rows.tree.size < room and not part.passed and rows.go_on(deadline):
                pass
        found.append(rows)
        return tightened(layers, box, entries, rows.least.unsqueeze(0))

    proven_layers(graph, region, hints, claim=None, deadline=deadline, further=search)
    return tuple(rows.lemma for rows in found), sum(rows.tree.size for rows in found)


def _shown(lemmas: Sequence[Lemma], layers: Layers, name: str, box: Interval) -> Interval:
    for lemma in lemmas:
        if lemma.name == name:
            neurons = _before(layers, name, lemma.entries, lemma.leaves.free)
            roots = torch.arange(2 * len(lemma.entries))
            parts = lemma.leaves.parts(lemma.tree, roots, neurons)
            parts = replace(parts, weights=torch.ones_like(parts.weights))  # the bound is one of the row itself
            lower = torch.cat([lower_bounds(neurons, part) for part in parts.chunks(PIECE_PARTS)])
            root = torch.from_numpy(lemma.tree.root()[lemma.tree.leaves()])
            least = lower.new_full((len(roots),), torch.inf).scatter_reduce(0, root, lower, "amin")
            box = tightened(layers, box, lemma.entries, least.unsqueeze(0))
    return box


def _before(layers: Layers, name: str, entries: Tensor, free: Tensor | None = None) -> Neurons:
    """The neurons before a result, where its entries, and then their negatives, are what is to be bounded."""
    graph = layers.graph.until(name)
    boxes, leans = (
        {key: box for key, box in known.items() if key in graph.shapes} for known in (layers.boxes, layers.leans)
    )
    voids = {key: mask for key, mask in layers.voids.items() if key in graph.shapes}
    before = Layers(graph, layers.region, layers.claim, boxes, leans, voids, deadline=layers.deadline)
    size = math.prod(graph.output.shape)
    check_room("a proof", 4 * len(entries) * size * torch.finfo(graph.dtype).bits // 8)
    units = torch.zeros(len(entries), size, dtype=graph.dtype)
    units.scatter_(1, entries.unsqueeze(1), 1.0)
    C = torch.cat([units, -units])[None, :, None, :]
    goals = Goals(C, None, C.new_zeros(C.shape[:3]))
    return Neurons.of(before, goals) if free is None else Neurons(before, goals, free)


class _Rows:
    """The search for one lemma: all leaves so far, with their bounds, nodes of the tree, and where to split them."""

    def __init__(self, neurons: Neurons, name: str, entries: Tensor, workers: Workers) -> None:
        self.neurons, self.name, self.entries, self.workers = neurons, name, entries, workers
        self.tree = Tree(2 * len(entries))
        self.nodes = torch.arange(self.tree.roots)

    def begin(self, hints: Sequence[Hint], deadline: Deadline) -> None:
        """Bound the rows over the whole region, from the planes of hints where there are some."""
        rows = self.tree.roots
        shares = self.neurons.start().repeat(rows, 1)
        for hint in hints:
            self._planted(shares, hint)
        parts = Parts.whole(torch.arange(rows), torch.ones(rows, 1), shares)
        self.parts, self.columns = self._bounded(parts, deadline)

    def _planted(self, shares: Tensor, hint: Hint) -> None:
        """Put the planes of a hint where they belong among the shares (rows, free) of the rows."""
        place = {entry: i for i, entry in enumerate(self.entries.tolist())}
        pairs = [(place[entry], i) for i, entry in enumerate(hint.entries.tolist()) if entry in place]
        if not pairs:
            return
        mine, theirs = torch.tensor(pairs).T
        count = len(self.entries), len(hint.entries)
        mine, theirs = torch.cat([mine, mine + count[0]]), torch.cat([theirs, theirs + count[1]])
        everything = torch.zeros(len(mine), self.neurons.choices, dtype=torch.uint8)
        for name, span in self.neurons.planes.items():
            known = hint.shares.get(name)
            if known is not None and known.shape[2:] == self.neurons.graph.shapes[name]:  # and no windows of an image
                everything[:, span] = known[:, theirs].movedim(1, 0).flatten(1)
        shares[mine] = everything[:, self.neurons.free]

    def _bounded(self, parts: Parts, deadline: Deadline) -> tuple[Parts, tuple[Tensor, Tensor, Tensor]]:
        """Parts after their optimization; their bounds, and the entries and values to split them at."""
        one = partial(_optimized, self.neurons, parts, deadline)
        done, *columns = zip(*self.workers.each(one, pieces(len(parts), PIECE_PARTS)), strict=True)
        lower, entries, at = map(torch.cat, columns)
        return Parts.join(done), (lower, entries, at)

    @property
    def least(self) -> Tensor:
        """The bound of each row (rows,)."""
        return (
            self.columns[0]
            .new_full((self.tree.roots,), torch.inf)
            .scatter_reduce(0, self.parts.clauses, self.columns[0], "amin")
        )

    def go_on(self, deadline: Deadline) -> bool:
        """Split the worst leaves of each row, unless the sign of the entry is known; whether there were some to split.

        Rows share a batch of fixed size, so that few rows are taken further than many.
        """
        lower, entries, at = self.columns
        clauses, open = self.parts.clauses, (self.least.unflatten(0, (2, -1)) < 0).all(0).repeat(2)
        may = open[clauses] & (entries >= 0)
        each = max(1, BATCH_PARTS // max(1, 2 * int(open.sum())))
        order = lower.argsort(stable=True)
        order = order[clauses[order].argsort(stable=True)]  # by row, and by bound within a row
        begin = torch.bincount(clauses, minlength=self.tree.roots).cumsum(0).roll(1).index_fill(0, torch.tensor(0), 0)
        place = torch.arange(len(order)) - begin[clauses[order]]
        chosen = order[(place < each) & may[order]]
        if not len(chosen):
            return False
        first = torch.from_numpy(
            self.tree.grow(self.nodes[chosen].numpy(), entries[chosen].numpy(), at[chosen].double().numpy())
        )
        children, columns = self._bounded(self.parts.of(chosen).split(entries[chosen], at[chosen]), deadline)
        rest = torch.ones(len(self.parts), dtype=torch.bool).index_fill(0, chosen, False)
        self.parts = Parts.join([self.parts.of(rest), children])
        self.nodes = torch.cat([self.nodes[rest], first, first + 1])
        lower, entries, at = (torch.cat([old[rest], new]) for old, new in zip(self.columns, columns, strict=True))
        self.columns = lower, entries, at
        return True

    @property
    def lemma(self) -> Lemma:
        """What was found."""
        return Lemma(self.name, self.entries, self.tree, Leaves.of(self.neurons.free, self.nodes, self.parts))


@torch.no_grad()
def _optimized(
    neurons: Neurons, parts: Parts, deadline: Deadline, piece: slice
) -> tuple[Parts, Tensor, Tensor, Tensor]:
    found = optimize_parts(neurons, parts.of(piece), STEPS, deadline, RATE)
    return (found.parts, found.lower, *branch(neurons, found))
