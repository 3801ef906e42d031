"""Branch and bound over the inputs: boxes are cut in two until each is decided, many boxes at a time.

The search runs in float32 without error terms: CROWN, and a few optimization steps on the planes where CROWN nearly
suffices. Boxes that seem decided are then claimed in float64 with error terms, and cut further if the claim fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.bounds.tensors import flat
from certify.complete.inputs.assess import Assessment, Boxes, assess
from certify.complete.inputs.rows import Planes, refuted
from certify.complete.pieces import pieces
from certify.complete.problem import Steps, VerificationProblem, Witness
from certify.complete.proofs.proof import InputProof
from certify.complete.proofs.tree import Tree
from certify.complete.workers import Workers

__all__ = ["chunk", "split_inputs"]

ROUND, CHUNK = 1024, 256
"""Boxes assessed in one round, and boxes that one process bounds at a time."""

FEW = 16
"""In a tree with fewer nodes, boxes are cut twice in a row: assessing a few boxes takes no longer than one."""

NUMBERS = 2**22
"""Coefficients that the rows of one chunk may have, which bounds the memory on wide networks."""

MANY = 2**19
"""With more open boxes than this, those nearest to decided go first, so that their number does not grow."""


def split_inputs(problem: VerificationProblem, open: Tensor, deadline: Deadline, workers: int = 1) -> Steps[InputProof]:
    """Cut boxes of inputs until every open clause is refuted on each, or a witness is found.

    It gives up when the time is over, or when a box is so small that no float lies between its ends.

    Args:
        problem: regions and goals.
        open: (regions, clauses) mask of the clauses to refute.
        deadline: the time limit.
        workers: processes; no result depends on it.
    """
    with Workers(workers, deadline, problem, open) as crew:
        search = _Search(problem, open, deadline, crew)
        while (count := min(ROUND, len(search.pool))) > 0:
            try:
                witness = search.round()
            except OutOfTime:  # in the middle of it
                return
            if witness is not None:
                yield witness
                return
            if search.stuck or deadline.passed:
                return
            yield count
        yield search.proof


@dataclass(slots=True)
class _Search:
    """The state of the search: open boxes, boxes that wait to be claimed, and proven boxes."""

    problem: VerificationProblem
    open: Tensor
    deadline: Deadline
    workers: Workers
    regions: Tensor = field(init=False)
    tree: Tree = field(init=False)
    pool: Boxes = field(init=False)
    waiting: list[tuple[Boxes, Planes]] = field(default_factory=list)
    proven: list[tuple[Boxes, Planes]] = field(default_factory=list)
    stuck: bool = False

    def __post_init__(self) -> None:
        [self.regions] = self.open.any(dim=1).nonzero(as_tuple=True)
        self.tree, count = Tree(len(self.regions)), len(self.regions)
        box = self.problem.region.box.rows(self.regions)
        self.pool = Boxes(
            flat(box.lower, 1),
            flat(box.upper, 1),
            torch.arange(count),
            self.regions,
            torch.zeros(count, dtype=torch.float64),
        )

    def round(self) -> Witness | None:
        """Assessment at the boxes that are furthest from decided, and claim when enough of them wait for that."""
        chosen = self.pool.score.topk(min(ROUND, len(self.pool)), largest=len(self.pool) > MANY).indices
        rest = torch.ones(len(self.pool), dtype=torch.bool).index_fill(0, chosen, False)
        now, self.pool = self.pool.of(chosen), self.pool.of(rest)
        parts = pieces(len(now), chunk(self.problem))
        seeing = partial(_seen, self.problem, self.open, now, self.deadline)
        for part, seen in zip(parts, self.workers.each(seeing, parts), strict=True):
            if self.deadline.passed:
                return None
            boxes = now.of(part)
            if len(seen.points) > 0 and (witness := self.problem.examine(seen.points)) is not None:
                return witness
            # A box that cannot be cut is claimed as well: float64 may decide what float32 cannot.
            done = seen.decided | ~_apart(boxes, seen.cuts[:, 0])
            if bool(done.any()):
                self.waiting.append((boxes.of(done), seen.planes.of(done)))
            left, (cuts, again) = boxes.of(~done), seen.cuts[~done].T
            few = self.tree.size < FEW and bool(_apart(left, again).all())
            halves = self._cut(left, cuts, seen.score[~done])
            if few:
                halves = self._cut(halves, again.repeat(2), halves.score)
            self.pool = Boxes.join([self.pool, halves])
        if sum(len(boxes) for boxes, _ in self.waiting) >= ROUND or len(self.pool) == 0:
            self._claim()
        return None

    def _claim(self) -> None:
        boxes, planes = Boxes.join([b for b, _ in self.waiting]), Planes.join([p for _, p in self.waiting])
        self.waiting = []
        parts = pieces(len(boxes), chunk(self.problem))
        claiming = partial(_holds, self.problem, self.open, boxes, planes, self.deadline)
        for part, holds in zip(parts, self.workers.each(claiming, parts), strict=True):
            if self.deadline.passed:
                return
            claimed = boxes.of(part)
            hinted = holds & planes.of(part).given
            self.proven.append((claimed.of(hinted), planes.of(part).of(hinted)))
            failed = claimed.of(~holds)
            # The sensitivities are not kept for this rare case: cut the widest input.
            cuts = (failed.upper - failed.lower).argmax(dim=1)
            self.stuck |= not bool(_apart(failed, cuts).all())
            self.pool = Boxes.join([self.pool, self._cut(failed, cuts, failed.score)])

    def _cut(self, boxes: Boxes, cuts: Tensor, score: Tensor) -> Boxes:
        """The halves of boxes, cut in the middle at inputs (b,)."""
        if len(boxes) == 0:
            return boxes
        entry, at = cuts.unsqueeze(1), _middle(boxes, cuts)
        first = torch.from_numpy(self.tree.grow(boxes.node.numpy(), entry[:, 0].numpy(), at[:, 0].numpy()))
        below = Boxes(boxes.lower, boxes.upper.scatter(1, entry, at), first, boxes.region, score)
        above = Boxes(boxes.lower.scatter(1, entry, at), boxes.upper, first + 1, boxes.region, score)
        return Boxes.join([below, above])

    @property
    def proof(self) -> InputProof:
        """The proof, once every box is proven."""
        boxes, planes = Boxes.join([b for b, _ in self.proven]), Planes.join([p for _, p in self.proven])
        return InputProof(self.regions, self.tree, boxes.node, planes.weights, planes.shares)


def _seen(problem: VerificationProblem, open: Tensor, boxes: Boxes, deadline: Deadline, part: slice) -> Assessment:
    return assess(problem, open, boxes.of(part), deadline)


def _holds(
    problem: VerificationProblem, open: Tensor, boxes: Boxes, planes: Planes, deadline: Deadline, part: slice
) -> Tensor:
    return holds(problem, open, boxes.of(part), planes.of(part), deadline)


def _middle(boxes: Boxes, cuts: Tensor) -> Tensor:
    """Where to cut boxes at inputs (b,), (b, 1)."""
    entry = cuts.unsqueeze(1)
    return boxes.lower.gather(1, entry) / 2 + boxes.upper.gather(1, entry) / 2


def _apart(boxes: Boxes, cuts: Tensor) -> Tensor:
    """Which boxes can be cut there, -1 for nowhere: both halves are smaller."""
    entry = cuts.clamp(min=0).unsqueeze(1)
    at = _middle(boxes, entry[:, 0])
    inside = (boxes.lower.gather(1, entry) < at) & (at < boxes.upper.gather(1, entry))
    return (cuts >= 0) & inside[:, 0]


def chunk(problem: VerificationProblem) -> int:
    """How many boxes fit into memory at a time."""
    rows = problem.goals.d[0].numel()
    return max(1, min(CHUNK, NUMBERS // (rows * problem.graph.widest)))


@torch.no_grad()
def holds(
    problem: VerificationProblem, open: Tensor, boxes: Boxes, planes: Planes, deadline: Deadline = NEVER
) -> Tensor:
    """Whether every open clause is proven to be refuted on each box, (b,)."""
    wanted = open[boxes.region]
    found = refuted(problem, boxes.over(problem.region), problem.goals.of(boxes.region), planes, wanted, deadline)
    return (found | ~wanted).all(dim=1)
