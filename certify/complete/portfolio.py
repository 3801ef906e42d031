"""One time budget, from the cheapest method to the one that decides everything in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from certify.complete.answer import Answer
from certify.complete.boxes import split_inputs
from certify.complete.deadline import Deadline
from certify.complete.neurons import split_neurons
from certify.complete.problem import Problem, Witness
from certify.complete.proof import Proof
from certify.complete.rows import DIRECT, refuted_directly
from certify.complete.search import hunt

__all__ = ["decide"]

NARROW = 20
"""Inputs that can differ, up to which it is they that are split."""

FIRST, SECOND = 2, 6
"""Pieces of the search for a witness before any bounds, and before branching."""

SELDOM = 16
"""While branching, a piece after 1, 2, 4, ... rounds, and from then on every so many rounds."""


@dataclass(slots=True)
class Hunt:
    """A search for a witness that goes on now and then. What it finds depends on no clock."""

    pieces: Iterator[Witness | None]
    rounds: int = 0

    def go_on(self, count: int = 1) -> Witness | None:
        """Do some more pieces of work."""
        for _ in range(count):
            if (found := next(self.pieces, None)) is not None:
                return found
        return None

    def meanwhile(self) -> Witness | None:
        """Called once a round of branching."""
        self.rounds += 1
        due = self.rounds & (self.rounds - 1) == 0 if self.rounds < SELDOM else self.rounds % SELDOM == 0
        return self.go_on() if due else None


def decide(problem: Problem, deadline: Deadline, *, workers: int = 1, seed: int = 0) -> Answer:
    """Find a witness, or prove that there is none, or give up when the time is over.

    Args:
        problem: regions, and what is to be proven over each.
        deadline: the time limit. The answer comes soon after it at the latest, once a bound of whole regions is done.
        workers: threads; no answer depends on it.
        seed: what the search for a witness draws from.
    """
    search = Hunt(hunt(problem, deadline, seed))
    if (witness := search.go_on(FIRST)) is not None:
        return Answer("sat", witness, solver="attack")
    open = torch.ones(problem.goals.d.shape[:2], dtype=torch.bool)
    if problem.wide <= NARROW:
        return _by_inputs(problem, open, search, deadline, workers)
    for method in DIRECT:
        open &= ~refuted_directly(problem, open, method)
        if not open.any():
            return Answer("unsat", proof=Proof(method, ~open), solver=method, subproblems=len(open))
        if deadline.passed:
            return Answer("timeout")
    if (witness := search.go_on(SECOND)) is not None:
        return Answer("sat", witness, solver="attack")
    direct, neurons = ~open, []
    for region in open.any(dim=1).nonzero()[:, 0].tolist():
        [clauses] = open[region].nonzero(as_tuple=True)
        result = split_neurons(problem, region, clauses, deadline)
        if isinstance(result, Witness):
            return Answer("sat", result, solver="neurons")
        if result is None:
            return _gave_up(deadline, "no neuron is left to split")
        neurons.append(result)
    subproblems = sum(one.tree.size for one in neurons)
    return Answer("unsat", None, Proof(method, direct, None, tuple(neurons)), "neurons", subproblems)


def _by_inputs(problem: Problem, open: torch.Tensor, search: Hunt, deadline: Deadline, workers: int) -> Answer:
    result = split_inputs(problem, open, deadline, search.meanwhile, workers)
    if isinstance(result, Witness):
        return Answer("sat", result, solver="inputs")
    if result is None:
        return _gave_up(deadline, "boxes of inputs became too small to cut")
    return Answer("unsat", None, Proof("crown", ~open, result), "inputs", result.tree.size)


def _gave_up(deadline: Deadline, reason: str) -> Answer:
    return Answer("timeout") if deadline.passed else Answer("unknown", reason=reason)
