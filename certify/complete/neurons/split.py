"""Branch and bound over neurons (beta-CROWN, Wang et al. 2021), for networks with too many inputs to split those.

The search runs in float32 without error terms. A part that seems decided is claimed in float64 with error terms, from
the planes and multipliers that the proof keeps; if the claim fails, the part is split further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from certify.bounds.alpha_crown import search_layers
from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.bounds.hints import Hint
from certify.complete.neurons.branching import branch
from certify.complete.neurons.leaves import Leaves
from certify.complete.neurons.lemmas import Lemma, known_layers, search_lemmas
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.optimize import RATE, optimize_parts
from certify.complete.neurons.parts import Parts, lower_bounds
from certify.complete.neurons.program import solved
from certify.complete.pieces import pieces
from certify.complete.problem import Steps, VerificationProblem, Witness
from certify.complete.proofs.proof import NeuronProof
from certify.complete.proofs.tree import Tree
from certify.complete.workers import Workers
from certify.errors import BadInput

__all__ = ["replayed", "split_neurons"]

ROOT_SHARE = 0.3
"""The share of the time in which planes of intermediate results are optimized over the whole region."""

EFFORTS = ((0, 2**11), (2**10, 2**10), (2**12, 2**12), (2**14, 2**14), (2**16, math.inf))
"""Parts bounded to tighten each intermediate result, and then parts to prove the goals, before more of both are tried.

What is tried again with four times the effort costs a third more than if it had been tried so at once.
"""

LEMMA_SHARE = 0.5
"""The share of the time left in which intermediate results are tightened by splitting."""

ROOT_STEPS, PART_STEPS = 20, 10
"""Optimization steps for whole regions, and for parts."""

ROOT_RATE = 0.5
"""The step size for whole regions, whose planes start far from the optimum; parts start from their parents' planes."""

BATCH_NUMBERS, BATCH_PARTS, PIECE_PARTS = 2**21, 1024, 256
"""The most numbers that all results of a batch of parts may have, the most parts of a batch, and of one process."""

NEAR_VIOLATION = 1e-4
"""Points at which all rows of a clause are at most this in float32 are executed."""

WAITING_BYTES = 2**30
"""Memory for the shares of waiting parts, beyond which those nearest to proven go first to keep their number down."""


@torch.no_grad()
def split_neurons(
    problem: VerificationProblem, region: int, clauses: Tensor, deadline: Deadline, workers: int = 1
) -> Steps[NeuronProof]:
    """Refute clauses of one region by splitting neurons, or find a witness.

    Args:
        problem: what is to be proven.
        region: index of the region.
        clauses: (roots,) indices of its clauses.
        deadline: the time limit.
        workers: processes; no result depends on it.

    It gives up when the time is over, or when all neurons of a part are linear but rounding errors hide its answer.
    """
    try:
        yield from _steps(problem, region, clauses, deadline, workers)
    except OutOfTime:  # in the middle of a step
        return


def _steps(
    problem: VerificationProblem, region: int, clauses: Tensor, deadline: Deadline, workers: int
) -> Steps[NeuronProof]:
    part = deadline.part(ROOT_SHARE)
    one = problem.region.rows(slice(region, region + 1)).to(torch.float32)
    hints = search_layers(problem.quick, one, lambda: part.passed, deadline)
    lemmas: tuple[Lemma, ...] = ()
    for tightening, most in EFFORTS:
        if tightening:
            part = deadline.part(LEMMA_SHARE)
            lemmas, count = search_lemmas(problem.quick, one, hints, tightening, part, deadline, workers)
            yield count
        known = _known(problem, region, hints, lemmas, deadline)
        quick = known.quick(problem.quick)
        with Workers(workers, deadline, known, quick) as crew:
            search = _Search(problem, known, quick, clauses, crew)
            for found in search.steps(clauses, most, deadline):
                if not isinstance(found, Leaves):
                    yield found
                    continue
                yield NeuronProof(region, clauses, hints, search.tree, found, lemmas)
                return
        if search.stuck or deadline.passed:
            return


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Parts (b,) after their optimization.

    Args:
        parts, lower: with the best planes and multipliers found, and the bounds in float32 that these gave.
        proven: which of them a claim refutes.
        points: inputs (p, ...) that seem to be witnesses.
        entries, at: where to split each part best; the entry is -1 where nothing is left to split.
    """

    parts: Parts
    lower: Tensor
    proven: Tensor
    points: Tensor
    entries: Tensor
    at: Tensor


class _Pool:
    """The parts that wait to be split, with their bounds, nodes of the tree, and where to split them."""

    def __init__(self) -> None:
        self.parts: Parts | None = None
        self.columns: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return 0 if self.parts is None else len(self.parts)

    def put(self, parts: Parts, lower: Tensor, nodes: Tensor, entries: Tensor, at: Tensor) -> None:
        """Add parts (b,)."""
        columns = lower, nodes, entries, at
        if self.parts is None:
            self.parts, self.columns = parts, columns
        else:
            self.parts = Parts.join([self.parts, parts])
            self.columns = tuple(torch.cat(pair) for pair in zip(self.columns, columns, strict=True))

    def take(self, count: int) -> tuple[Parts, Tensor, Tensor, Tensor]:
        """Remove ``count`` parts, furthest from proven first; also their nodes, and entries and values to split at."""
        assert self.parts is not None
        full = len(self) * self.parts.shares.shape[1] > WAITING_BYTES
        chosen = self.columns[0].topk(min(count, len(self)), largest=full).indices
        rest = torch.ones(len(self), dtype=torch.bool).index_fill(0, chosen, False)
        taken, columns = self.parts.of(chosen), tuple(column[chosen] for column in self.columns[1:])
        self.parts, self.columns = self.parts.of(rest), tuple(column[rest] for column in self.columns)
        nodes, entries, at = columns
        return taken.deep(int(taken.depth.max()) if len(taken) else 0), nodes, entries, at


class _Search:
    """The state of the search: waiting parts and proven ones."""

    def __init__(
        self, problem: VerificationProblem, exact: Neurons, quick: Neurons, clauses: Tensor, workers: Workers
    ) -> None:
        self.problem, self.exact, self.quick, self.workers = problem, exact, quick, workers
        self.precise = exact.quick(problem.exact)
        self.tree = Tree(len(clauses))
        self.pool = _Pool()
        self.stuck = False
        self.proven: list[tuple[Tensor, Parts]] = []

    def steps(self, clauses: Tensor, most: float, deadline: Deadline) -> Steps[Leaves]:
        """Split until all parts are proven, or ``most`` parts were bounded."""
        found = self.optimized(self.whole(clauses), ROOT_STEPS, deadline, ROOT_RATE)
        nodes = torch.arange(len(clauses))
        while True:
            if (witness := self.settle(found, nodes, deadline)) is not None:
                yield witness
                return
            if not len(self.pool):
                yield self.leaves
                return
            if deadline.passed or self.stuck:
                return
            yield len(nodes)
            if self.tree.size > most:
                return
            parts, nodes = self.next()
            found = self.optimized(parts, PART_STEPS, deadline, RATE)

    def whole(self, clauses: Tensor) -> Parts:
        """The region itself, once for each clause, with equal weights for its rows and none for padding."""
        goals = self.quick.goals
        says = (goals.C[0][clauses] != 0).any(2)
        if goals.D is not None:
            says |= (goals.D[0][clauses] != 0).any(2)
        says |= ~says.any(1, keepdim=True)
        weights = says / says.sum(1, keepdim=True)
        return Parts.whole(clauses, weights.float(), self.quick.start().expand(len(clauses), -1))

    def optimized(self, parts: Parts, iterations: int, deadline: Deadline, rate: float) -> _Found:
        """Improve planes and multipliers of parts, claim those that seem proven, and find where to split the others."""
        one = partial(_optimized, self.exact, self.quick, parts, iterations, deadline, rate)
        found = list(self.workers.each(one, pieces(len(parts), PIECE_PARTS)))
        names = ("lower", "proven", "points", "entries", "at")
        rest = (torch.cat([getattr(part, name) for part in found]) for name in names)
        return _Found(Parts.join([part.parts for part in found]), *rest)

    def settle(self, found: _Found, nodes: Tensor, deadline: Deadline) -> Witness | None:
        """Execute what seems to be a witness, decide parts in which nothing is left to split, and keep the others."""
        dtype = self.problem.graph.dtype
        if len(found.points) > 0 and (witness := self.problem.examine(found.points.to(dtype))) is not None:
            return witness
        parts, entries, at, refuted = found.parts, found.entries, found.at, found.proven
        linear = torch.zeros_like(refuted)
        for i in ((entries < 0) & ~(found.lower > 0)).nonzero().flatten().tolist():
            if deadline.passed:
                break
            best, x = solved(self.precise, parts.of(slice(i, i + 1)))
            if (witness := self.problem.examine(x.to(dtype))) is not None:
                return witness
            parts = parts.put(torch.arange(len(parts)) == i, best)
            linear[i] = True
        if bool(linear.any()):
            refuted = refuted.masked_scatter(linear, lower_bounds(self.exact, parts.of(linear)) > 0)
        self.proven.append((nodes[refuted], parts.of(refuted)))
        keep = ~refuted
        self.stuck |= bool((entries[keep] < 0).any())
        self.pool.put(parts.of(keep), found.lower[keep], nodes[keep], entries[keep], at[keep])
        return None

    def next(self) -> tuple[Parts, Tensor]:
        """The children of the parts furthest from proven, and their nodes."""
        parts, nodes, entries, at = self.pool.take(_batch(self.quick) // 2)
        first = self.tree.grow(nodes.numpy(), entries.numpy(), at.double().numpy())
        children = torch.from_numpy(first)
        return parts.split(entries, at), torch.cat([children, children + 1])

    @property
    def leaves(self) -> Leaves:
        """The leaves of the tree, once every part is proven."""
        nodes = torch.cat([nodes for nodes, _ in self.proven])
        return Leaves.of(self.exact.free, nodes, Parts.join([parts for _, parts in self.proven]))


@torch.no_grad()
def _optimized(
    exact: Neurons, quick: Neurons, parts: Parts, iterations: int, deadline: Deadline, rate: float, piece: slice
) -> _Found:
    found = optimize_parts(quick, parts.of(piece), iterations, deadline, rate)
    proven = found.lower > 0
    if bool(proven.any()):
        proven = proven.masked_scatter(proven, lower_bounds(exact, found.parts.of(proven)) > 0)
    goals = quick.goals.of(torch.zeros(len(found.x), dtype=torch.long))
    near = (goals.values(found.x, quick.graph.forward(found.x)) <= NEAR_VIOLATION).all(2).any(1)
    return _Found(found.parts, found.lower, proven, found.x[near], *branch(quick, found))


@torch.no_grad()
def replayed(problem: VerificationProblem, proof: NeuronProof, deadline: Deadline = NEVER) -> Tensor:
    """Which of the proof's clauses (roots,) its leaves refute, with every bound derived again.

    Raises:
        BadInput: if the proof does not fit the problem.
        OutOfTime: once the deadline passed.
    """
    if not 0 <= proof.region < len(problem.goals.d) or proof.tree.roots != len(proof.clauses):
        raise BadInput("a proof is about another problem: it has other regions or clauses")
    known = _known(problem, proof.region, proof.hints, proof.lemmas, deadline)
    exact = Neurons(known.layers, known.goals, proof.leaves.free)
    parts = proof.leaves.parts(proof.tree, proof.clauses, exact)
    lower = torch.cat([exact.goals.d.new_zeros(0), *(lower_bounds(exact, p) for p in parts.chunks(_batch(exact)))])
    roots = torch.from_numpy(proof.tree.root()[proof.tree.leaves()])
    open_leaves = torch.zeros(proof.tree.roots, dtype=torch.long).index_add(0, roots, (~(lower > 0)).long())
    return open_leaves == 0


def _known(
    problem: VerificationProblem,
    region: int,
    hints: Sequence[Hint],
    lemmas: Sequence[Lemma] = (),
    deadline: Deadline = NEVER,
) -> Neurons:
    """The neurons of one region, with boxes of all results from the hints and lemmas of its proof."""
    which = slice(region, region + 1)
    part = problem.region.rows(which)
    layers = known_layers(problem.exact, part, hints, lemmas, claim=problem.claim, deadline=deadline)
    return Neurons.of(layers, problem.goals.of(which))


def _batch(neurons: Neurons) -> int:
    """The number of parts that are bounded at a time."""
    numbers = sum(math.prod(shape) for shape in neurons.graph.shapes.values())
    return max(2, min(BATCH_PARTS, BATCH_NUMBERS // numbers))
