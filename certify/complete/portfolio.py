"""The portfolio: attack, direct bounds, then branching over inputs or neurons, within one time budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from certify.bounds.deadline import Deadline, OutOfTime
from certify.bounds.memory import check_fits
from certify.complete.inputs.rows import DIRECT, MANY, refuted_directly
from certify.complete.inputs.split import split_inputs
from certify.complete.neurons.split import split_neurons
from certify.complete.problem import Steps, VerificationProblem, Witness
from certify.complete.proofs.proof import CompleteProof, InputProof, NeuronProof
from certify.complete.witnesses.search import hunt

__all__ = ["Answer", "Outcome", "decide"]

NARROW, WIDE = 20, 1024
"""Inputs that can vary: up to NARROW only inputs are split, beyond WIDE only neurons, in between both in turn."""

PIECES_FIRST, PIECES_BEFORE_BRANCHING = 2, 24
"""Pieces of witness search before any bounds are computed, and before branching begins."""

SUBPROBLEMS_A_PIECE, FREQUENT_PIECES, STEPS_A_PIECE = 256, 64, 8
"""One piece of witness search per 256 subproblems until 64 are done, then one every 8 steps of branching."""

Outcome = Literal["sat", "unsat", "unknown", "timeout"]
"""A witness was found; proven that there is none; every method gave up; or the time limit passed."""


Ways = dict[str, tuple[int, Steps[InputProof] | Steps[tuple[NeuronProof, ...]]]]
"""By name, what one subproblem counts, and the steps of the search."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query.

    Args:
        outcome: what was found.
        witness: the counterexample, for ``"sat"``.
        proof: from which a replay derives the answer again, for ``"unsat"``.
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
    """A witness search that is resumed between other work; what it finds does not depend on time."""

    pieces: Iterator[Witness | None]
    steps: int = 0
    subproblems: int = 0
    done: int = 0

    def go_on(self, count: int) -> Witness | None:
        """Do ``count`` more pieces of work, or stop at a witness."""
        for _ in range(count):
            if (found := next(self.pieces, None)) is not None:
                return found
        return None

    def meanwhile(self, subproblems: int) -> Witness | None:
        """Search as much as is due after a step of branching that bounded so many subproblems."""
        self.steps, self.subproblems = self.steps + 1, self.subproblems + subproblems
        due = min(FREQUENT_PIECES, self.subproblems // SUBPROBLEMS_A_PIECE) - self.done
        self.done += due
        return self.go_on(max(due, self.steps % STEPS_A_PIECE == 0 and self.done == FREQUENT_PIECES))


def decide(problem: VerificationProblem, deadline: Deadline, *, workers: int = 1, seed: int = 0) -> Answer:
    """Find a witness, or prove that there is none, or give up when the time is over.

    Args:
        problem: regions, and what is to be proven over each.
        deadline: the time limit. The answer comes soon after it at the latest, once the operation under way is done.
        workers: processes; no answer depends on it.
        seed: what the search for a witness draws from.

    Raises:
        NoRoom: where one region takes more memory than there is to spare.
    """
    check_fits(problem.exact, None, problem.goals.C.device)
    search = Hunt(hunt(problem, deadline, seed))
    if (witness := search.go_on(PIECES_FIRST)) is not None:
        return Answer("sat", witness, solver="attack")
    open = torch.ones(problem.goals.d.shape[:2], dtype=torch.bool)
    method, many, wide = DIRECT[-1], len(open) >= MANY, problem.wide > NARROW
    # Cutting few inputs begins with what CROWN does; but of many regions, most need no more than boxes.
    for method in DIRECT if wide else DIRECT[:1] if many else ():
        try:
            open &= ~refuted_directly(problem, open, method, deadline)
        except OutOfTime:  # in the middle of it
            return Answer("timeout")
        if not open.any():
            return Answer("unsat", proof=CompleteProof(method, ~open), solver=method, subproblems=len(open))
        if deadline.passed:
            return Answer("timeout")
        # A pass of CROWN over many regions takes longer than a search that may make it needless.
        if wide and (many or method == DIRECT[-1]) and (found := search.go_on(PIECES_BEFORE_BRANCHING)) is not None:
            return Answer("sat", found, solver="attack")
    return _branch(problem, open, method, search, deadline, workers)


def _branch(
    problem: VerificationProblem, open: Tensor, method: str, search: Hunt, deadline: Deadline, workers: int
) -> Answer:
    """Split inputs, neurons or both, by how many inputs can vary. Of two, the one that has done less work goes on.

    A box counts as one subproblem for each input that varies: it takes longer than a subproblem of split neurons, and
    the more inputs there are, the less is decided by cutting one of them.
    """
    ways: Ways = {}
    if problem.wide <= WIDE:
        ways["inputs"] = problem.wide, split_inputs(problem, open, deadline, workers)
    if problem.wide > NARROW:
        ways["neurons"] = 1, _regions(problem, open, deadline, workers)
    try:
        return _in_turns(problem, open, method, search, deadline, ways)
    finally:
        for _, steps in ways.values():
            steps.close()


def _in_turns(
    problem: VerificationProblem, open: Tensor, method: str, search: Hunt, deadline: Deadline, ways: Ways
) -> Answer:
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


def _regions(
    problem: VerificationProblem, open: Tensor, deadline: Deadline, workers: int
) -> Steps[tuple[NeuronProof, ...]]:
    """Split the neurons of one region after the other, until all are proven."""
    proofs = []
    for region in open.any(dim=1).nonzero()[:, 0].tolist():
        [clauses] = open[region].nonzero(as_tuple=True)
        with closing(split_neurons(problem, region, clauses, deadline, workers)) as steps:
            for found in steps:
                if isinstance(found, NeuronProof):
                    proofs.append(found)
                    break
                yield found
            else:
                return
    yield tuple(proofs)
