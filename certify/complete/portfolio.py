"""One time budget, from the cheapest method to the one that decides everything in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from certify.bounds.deadline import Deadline, OutOfTime
from certify.bounds.memory import check_fits
from certify.complete.inputs.rows import DIRECT, refuted_directly
from certify.complete.inputs.split import split_inputs
from certify.complete.neurons.split import split_neurons
from certify.complete.problem import Steps, VerificationProblem, Witness
from certify.complete.proofs.proof import CompleteProof, InputProof, NeuronProof
from certify.complete.witnesses.search import hunt

__all__ = ["Answer", "Outcome", "decide"]

NARROW, WIDE = 20, 1024
"""Up to so many inputs that can differ only inputs are split, beyond so many only neurons; in between both in turn."""

BOX = 16
"""What a box of inputs costs where both are tried, in parts of a region that neurons were split of."""

FIRST, SECOND = 2, 24
"""Pieces of the search for a witness before any bounds, and before branching."""

EVERY, MANY, SELDOM = 256, 64, 8
"""While branching, a piece for so many subproblems until there were many pieces; from then on one in so many steps."""


Outcome = Literal["sat", "unsat", "unknown", "timeout"]
"""A witness, a proof that there is none, or neither: because every method gave up, or because the time was over."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query.

    Args:
        outcome: what was found.
        witness: the counterexample, for ``"sat"``.
        proof: what a replay derives the answer from again, for ``"unsat"``.
        solver: which step of the portfolio ended it: ``"attack"``, ``"crown"``, ``"inputs"``, ``"neurons"``.
        subproblems: how many regions were bounded.
        reason: why it is unknown, in a few words.
    """

    outcome: Outcome
    witness: Witness | None = None
    proof: CompleteProof | None = None
    solver: str = ""
    subproblems: int = 0
    reason: str = ""


@dataclass(slots=True)
class Hunt:
    """A search for a witness that goes on now and then. What it finds depends on no clock."""

    pieces: Iterator[Witness | None]
    steps: int = 0
    subproblems: int = 0
    done: int = 0

    def go_on(self, count: int) -> Witness | None:
        """Do some more pieces of work."""
        for _ in range(count):
            if (found := next(self.pieces, None)) is not None:
                return found
        return None

    def meanwhile(self, subproblems: int) -> Witness | None:
        """Called after each step of branching, with what it bounded."""
        self.steps, self.subproblems = self.steps + 1, self.subproblems + subproblems
        due = min(MANY, self.subproblems // EVERY) - self.done
        self.done += due
        return self.go_on(max(due, self.steps % SELDOM == 0 and self.done == MANY))


def decide(problem: VerificationProblem, deadline: Deadline, *, workers: int = 1, seed: int = 0) -> Answer:
    """Find a witness, or prove that there is none, or give up when the time is over.

    Args:
        problem: regions, and what is to be proven over each.
        deadline: the time limit. The answer comes soon after it at the latest, once the operation under way is done.
        workers: threads; no answer depends on it.
        seed: what the search for a witness draws from.

    Raises:
        NoRoom: where one region takes more memory than there is to spare.
    """
    check_fits(problem.exact, None)
    search = Hunt(hunt(problem, deadline, seed))
    if (witness := search.go_on(FIRST)) is not None:
        return Answer("sat", witness, solver="attack")
    open = torch.ones(problem.goals.d.shape[:2], dtype=torch.bool)
    method = DIRECT[-1]
    if problem.wide > NARROW:
        for method in DIRECT:
            try:
                open &= ~refuted_directly(problem, open, method, deadline)
            except OutOfTime:  # in the middle of it
                return Answer("timeout")
            if not open.any():
                return Answer("unsat", proof=CompleteProof(method, ~open), solver=method, subproblems=len(open))
            if deadline.passed:
                return Answer("timeout")
        if (witness := search.go_on(SECOND)) is not None:
            return Answer("sat", witness, solver="attack")
    return _branch(problem, open, method, search, deadline, workers)


def _branch(
    problem: VerificationProblem, open: Tensor, method: str, search: Hunt, deadline: Deadline, workers: int
) -> Answer:
    """Whatever fits the width of the inputs, or both by turns: whichever has done less work so far goes on."""
    ways: dict[str, tuple[int, Steps[InputProof] | Steps[tuple[NeuronProof, ...]]]] = {}
    if problem.wide <= WIDE:
        ways["inputs"] = BOX, split_inputs(problem, open, deadline, workers)
    if problem.wide > NARROW:
        ways["neurons"] = 1, _regions(problem, open, deadline)
    work, count = dict.fromkeys(ways, 0), 0
    while work:
        way = min(work, key=work.__getitem__)
        cost, steps = ways[way]
        found = next(steps, None)
        if isinstance(found, Witness):
            return Answer("sat", found, solver=way, subproblems=count)
        if isinstance(found, InputProof):
            return Answer("unsat", None, CompleteProof(method, ~open, found), way, count)
        if isinstance(found, tuple):
            return Answer("unsat", None, CompleteProof(method, ~open, None, found), way, count)
        if found is None:
            del work[way]
            continue
        work[way] += cost * found
        count += found
        if (witness := search.meanwhile(found)) is not None:
            return Answer("sat", witness, solver="attack", subproblems=count)
    if deadline.passed:
        return Answer("timeout", subproblems=count)
    return Answer("unknown", subproblems=count, reason="nothing is left to split")


def _regions(problem: VerificationProblem, open: Tensor, deadline: Deadline) -> Steps[tuple[NeuronProof, ...]]:
    """Neurons of one region after the other."""
    proofs = []
    for region in open.any(dim=1).nonzero()[:, 0].tolist():
        [clauses] = open[region].nonzero(as_tuple=True)
        for found in split_neurons(problem, region, clauses, deadline):
            if isinstance(found, NeuronProof):
                proofs.append(found)
                break
            yield found
        else:
            return
    yield tuple(proofs)
