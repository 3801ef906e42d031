"""What a verification ends with, and how it got there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from certify.complete.problem import Witness
from certify.complete.proofs.proof import Proof

__all__ = ["OUTCOMES", "Answer", "Outcome"]

Outcome = Literal["sat", "unsat", "unknown", "timeout"]
"""A witness, a proof that there is none, or neither: because every method gave up, or because the time was over."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


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
    proof: Proof | None = None
    solver: str = ""
    subproblems: int = 0
    reason: str = field(default="")
