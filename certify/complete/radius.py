"""The radius up to which a class is constant, between a proof below and an example above."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from certify.bounds.deadline import Deadline
from certify.bounds.radii.radius import largest_tried, proven_radii
from certify.complete.portfolio import decide
from certify.complete.problem import Witness
from certify.complete.proofs.proof import CompleteProof
from certify.complete.question import Question
from certify.complete.witnesses.search import hunt

__all__ = ["Ends", "bracketed", "decided"]

HINT = "crown"
"""Where it stops proving is where the search begins."""

PIECES = 16
"""Pieces of work of a search for an example at one radius: less than any proof takes, where there is need for one."""

HUNTS = 0.2
"""The part of the time in which examples alone are searched for."""

SHARE = 1 / 3
"""The part of what is left that one radius may take: what is hard close to the boundary may be easy further in.

Below a half, so that more is left for the one that failed when all others are done.
"""

WITHIN = 0.9
"""How much of the gap asked for lies between a radius to be proven and the example above it."""


HOPELESS = "the margins at the input itself do not exceed their rounding errors"


@dataclass(slots=True, eq=False)
class Ends:
    """What is known about one radius so far; it changes in place.

    Args:
        question: about which input.
        certified: the largest radius proven; None for none.
        proof: that of ``certified``.
        falsified: distance of the nearest example, infinite where none is known.
        example: it.
        failed: the smallest radius above ``certified`` at which the search gave up.
        spent: seconds that it had.
        reason: why it did, if not for want of time.
        solver, subproblems: of the proof.
        work: regions bounded for all radii that were decided.
    """

    question: Question
    certified: float | None = None
    proof: CompleteProof | None = None
    falsified: float = math.inf
    example: Witness | None = None
    failed: float = math.inf
    spent: float = 0.0
    reason: str = ""
    solver: str = ""
    subproblems: int = 0
    work: int = 0

    @property
    def proven(self) -> float:
        """The certified end, 0 where there is none."""
        return self.certified or 0.0

    def learn(self, witness: Witness) -> None:
        """Take in an example, and look for a nearer one on the way to it."""
        witness = self.question.nearer(witness)
        distance = self.question.distance(witness)
        if distance < self.falsified:
            self.falsified, self.example = distance, witness

    def ask(self, radius: float, deadline: Deadline, workers: int, seed: int) -> None:
        """Decide one radius, or give up when the time is over."""
        answer = decide(self.question.within(radius), deadline, workers=workers, seed=seed)
        self.work += answer.subproblems
        if answer.witness is not None:
            self.learn(answer.witness)
        elif answer.proof is not None:
            if self.certified is None or radius > self.certified:
                self.certified, self.proof = radius, answer.proof
                self.solver, self.subproblems = answer.solver, answer.subproblems
            if radius >= self.failed:
                self.failed, self.spent, self.reason = math.inf, 0.0, ""
        else:
            late = answer.outcome == "timeout"
            self.failed, self.spent, self.reason = radius, deadline.seconds, "" if late else answer.reason

    def again(self, deadline: Deadline) -> bool:
        """Whether the radius that failed, failed for want of time and can now have more of it."""
        return self.failed < self.falsified and not self.reason and deadline.left > self.spent

    def closed(self, gap: float) -> bool:
        """Whether the ends are as near as asked."""
        return self.falsified - self.proven <= gap * self.falsified < math.inf


def decided(question: Question, deadline: Deadline, *, workers: int = 1, seed: int = 0) -> Ends:
    """Decide the declared radii, the middle one of those that are open first.

    Args:
        question: about which input, with the radii in its threat model.
        deadline: the time limit.
        workers: threads; no answer depends on it.
        seed: what the search draws from.
    """
    ends = Ends(question)
    while not deadline.passed:
        least = -1.0 if ends.certified is None else ends.certified
        most = min(ends.falsified, ends.failed)
        open = [radius for radius in question.threat.radii if least < radius < most]
        if open:
            rounds = len(open).bit_length()
            ends.ask(open[len(open) // 2], deadline.part(1 / rounds), workers, seed)
        elif ends.again(deadline):
            ends.ask(ends.failed, deadline.part(1.0), workers, seed)
        else:
            break
    return ends


def bracketed(question: Question, deadline: Deadline, gap: float, *, workers: int = 1, seed: int = 0) -> Ends:
    """Bring a proven radius and the distance of an example together.

    Examples come first: the radius at which a search of fixed effort finds none is approached by bisection. Then it
    is proofs that go half of the way to the nearest example, again and again: they become many times harder with every
    step, so the easier ones before cost little, and are what is left where the time runs out. A radius that was given
    up for want of time is asked for again where others leave it more.

    Args:
        question: about which input. Up to four times the largest declared radius is searched.
        deadline: the time limit.
        gap: ends with ``falsified - certified <= gap * falsified`` are near enough.
        workers: threads; no answer depends on it.
        seed: what the search draws from.
    """
    ends = Ends(question)
    ends.ask(0.0, deadline.part(SHARE), workers, seed)
    cap = largest_tried(question.threat, question.x.numel())
    if ends.certified is None and ends.reason:
        ends.reason = HOPELESS
    hint = 0.0 if ends.certified is None else _hint(question, deadline.part(SHARE))
    _approach(ends, hint, cap, gap, deadline.part(HUNTS), seed)
    for radius in _radii(ends, hint, cap, gap, deadline):
        if deadline.passed:
            break
        ends.ask(radius, deadline.part(1.0 if radius == ends.failed else SHARE), workers, seed)
    if ends.proven >= cap:
        ends.reason = "no larger radius was tried"
    return ends


def _hint(question: Question, deadline: Deadline) -> float:
    """A radius that one bound proves, most probably; 0 where it proves none in time."""
    kept, largest = torch.tensor([question.kept]), question.threat.largest
    threat = question.threat.at((0.0, largest) if largest > 0 else (0.0,))
    x = question.x[None]
    [found] = proven_radii(
        question.graph,
        x,
        kept,
        threat,
        HINT,
        claim=question.claim,
        deadline=deadline,
        property=question.classifier.keeps,
    )
    return found.radius or 0.0


def _radii(ends: Ends, hint: float, cap: float, gap: float, deadline: Deadline) -> Iterator[float]:
    """The radii to ask for, one after the other, as answers come in; none where not even the input was proven."""
    if ends.certified is None:
        return
    if 0 < hint < ends.falsified:
        yield hint
    while ends.proven < cap and not ends.closed(gap):
        most = min(ends.falsified, ends.failed)
        if ends.failed - ends.proven <= gap * most < math.inf:
            if not ends.again(deadline):
                return
            yield ends.failed
            continue
        middle = (ends.proven + most) / 2
        yield cap if most == math.inf else min(middle, ends.falsified * (1 - WITHIN * gap))


def _approach(ends: Ends, hint: float, cap: float, gap: float, deadline: Deadline, seed: int) -> None:
    """Bring the example near to where none is found any more."""
    radius = min(2 * hint, cap) if hint > 0 else cap
    while not _found(ends, radius, deadline, seed):
        if radius >= cap or deadline.passed:
            return
        radius = min(2 * radius, cap)
    least = hint
    while not deadline.passed and ends.falsified - least > gap * ends.falsified:
        middle = (least + ends.falsified) / 2
        if not _found(ends, middle, deadline, seed):
            least = middle


def _found(ends: Ends, radius: float, deadline: Deadline, seed: int) -> bool:
    """Whether a search of fixed effort finds an example within a radius."""
    pieces = hunt(ends.question.within(radius), deadline, seed)
    for _, found in zip(range(PIECES), pieces, strict=False):
        if found is not None:
            ends.learn(found)
            return True
    return False
