"""Bracketing the robust radius of one input: a proof from below and an adversarial example from above."""

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

HINT_METHOD = "crown"
"""The bound method whose proven radius the search starts from."""

ATTACK_PIECES = 16
"""Pieces of witness search at one radius: cheaper than almost any proof."""

ATTACK_SHARE = 0.2
"""The share of the time in which only examples are searched for."""

RADIUS_SHARE = 0.4
"""The share of the remaining time that one radius may take: a radius near the boundary is hard, smaller ones are easy.

It is below a half so that a radius that failed can be retried with more time when all others are done.
"""

FIRST_STEP = 1 / 4
"""How far towards the nearest example the first radius lies, when nothing is known about the time that proofs take."""

LEAST_STEP = 1 / 16
"""A radius to be proven lies at least this part of the way from the proven one to the nearest that failed."""

SHORTEST = 0.05
"""Seconds: what is proven faster took only what every radius takes."""

GAP_SHARE = 0.9
"""A radius to be proven lies this share of the requested gap below the nearest example."""

HOPELESS = "the margins at the input itself do not exceed their rounding errors"


@dataclass(slots=True, eq=False)
class Ends:
    """The two ends of the bracket around one input's robust radius, updated in place as answers arrive.

    Args:
        question: classifier, input and threat.
        certified: the largest radius proven; None if none was.
        proof: the proof of ``certified``.
        falsified: distance of the nearest example; infinite if none is known.
        example: the nearest example.
        failed: the smallest radius above ``certified`` at which the search gave up; infinite if there is none.
        spent: seconds that the search at ``failed`` had.
        reason: why it gave up, if not because time ran out.
        times: the last radii proven, each with the seconds that it took.
        solver, subproblems: of ``proof``.
        work: subproblems bounded for all radii together.
    """

    question: Question
    certified: float | None = None
    proof: CompleteProof | None = None
    falsified: float = math.inf
    example: Witness | None = None
    failed: float = math.inf
    spent: float = 0.0
    reason: str = ""
    times: tuple[tuple[float, float], ...] = ()
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
        """Try to decide one radius within a deadline, and record the outcome."""
        answer = decide(self.question.within(radius), deadline, workers=workers, seed=seed)
        self.work += answer.subproblems
        if answer.witness is not None:
            self.learn(answer.witness)
        elif answer.proof is not None:
            if self.certified is None or radius > self.certified:
                self.certified, self.proof = radius, answer.proof
                self.solver, self.subproblems = answer.solver, answer.subproblems
                if radius > 0:  # where there is no need to split anything
                    self.times = (*self.times[-1:], (radius, max(SHORTEST, deadline.seconds - deadline.left)))
            if radius >= self.failed:
                self.failed, self.spent, self.reason = math.inf, 0.0, ""
        else:
            late = answer.outcome == "timeout"
            self.failed, self.spent, self.reason = radius, deadline.seconds, "" if late else answer.reason

    def within(self, seconds: float) -> float:
        """The radius that is expected to be proven in so much time, if that grows by a steady factor per radius."""
        if len(self.times) < 2:
            return self.proven + FIRST_STEP * (min(self.falsified, self.failed) - self.proven)
        (one, first), (two, second) = self.times
        growth = math.log(second / first) / (two - one)
        return two + math.log(seconds / second) / growth if growth > 0 and seconds > 0 else math.inf

    def again(self, deadline: Deadline) -> bool:
        """Whether ``failed`` ran out of time and more time is left now than it had."""
        return self.failed < self.falsified and not self.reason and deadline.left > self.spent

    def closed(self, gap: float) -> bool:
        """Whether the relative gap between the ends is at most ``gap``."""
        return self.falsified - self.proven <= gap * self.falsified < math.inf


def decided(question: Question, deadline: Deadline, *, workers: int = 1, seed: int = 0) -> Ends:
    """Decide the declared radii by bisection.

    Args:
        question: classifier, input, and the threat with the declared radii.
        deadline: the time limit.
        workers: processes; no answer depends on it.
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
    """Narrow the gap between the largest proven radius and the nearest example.

    First come examples: bisection finds the radius below which a search of fixed effort finds none. Then proofs are
    tried half-way between the proven radius and the nearest example, or nearer where the times so far say that this
    takes too long, again and again. Each step is many times harder than the one before, so the easy ones cost little
    and remain if time runs out. A radius that ran out of time is retried if the others leave more time for it.

    Args:
        question: classifier, input and threat. Up to four times the largest declared radius is searched.
        deadline: the time limit.
        gap: the search ends when ``falsified - certified <= gap * falsified``.
        workers: processes; no answer depends on it.
        seed: what the search draws from.
    """
    ends = Ends(question)
    ends.ask(0.0, deadline.part(RADIUS_SHARE), workers, seed)
    cap = largest_tried(question.threat, question.x.numel())
    if ends.certified is None and ends.reason:
        ends.reason = HOPELESS
    hint = 0.0 if ends.certified is None else _hint(question, deadline.part(RADIUS_SHARE))
    _approach(ends, hint, cap, gap, deadline.part(ATTACK_SHARE), seed)
    for radius in _radii(ends, hint, cap, gap, deadline):
        if deadline.passed:
            break
        ends.ask(radius, deadline.part(1.0 if radius == ends.failed else RADIUS_SHARE), workers, seed)
    if ends.proven >= cap:
        ends.reason = "no larger radius was tried"
    return ends


def _hint(question: Question, deadline: Deadline) -> float:
    """A radius that CROWN alone proves, where the search starts; 0 if it proves none in time."""
    kept, largest = torch.tensor([question.kept]), question.threat.largest
    threat = question.threat.at((0.0, largest) if largest > 0 else (0.0,))
    x = question.x[None]
    [found] = proven_radii(
        question.graph,
        x,
        kept,
        threat,
        HINT_METHOD,
        claim=question.claim,
        deadline=deadline,
        property=question.classifier.property,
    )
    return found.radius or 0.0


def _radii(ends: Ends, hint: float, cap: float, gap: float, deadline: Deadline) -> Iterator[float]:
    """The radii to decide next, given the answers so far; none if not even radius 0 was proven."""
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
        if most == math.inf:
            yield cap
            continue
        least, middle = (ends.proven + part * (most - ends.proven) for part in (LEAST_STEP, 1 / 2))
        aim = max(least, min(middle, ends.within(RADIUS_SHARE * deadline.left)))
        yield min(aim, ends.falsified * (1 - GAP_SHARE * gap))


def _approach(ends: Ends, hint: float, cap: float, gap: float, deadline: Deadline, seed: int) -> None:
    """Find a near example by bisection, down to the radius below which the search finds none."""
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
    """Whether a search of fixed effort finds an example within a radius; it is recorded if so."""
    pieces = hunt(ends.question.within(radius), deadline, seed)
    for _, found in zip(range(ATTACK_PIECES), pieces, strict=False):
        if found is not None:
            ends.learn(found)
            return True
    return False
