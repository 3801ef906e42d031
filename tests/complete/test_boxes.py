"""Splitting inputs: what a proof covers, what the search depends on, and how it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from certify.bounds.deadline import Deadline, OutOfTime
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.inputs import assess
from certify.complete.inputs import split as boxes
from certify.complete.inputs.assess import Boxes
from certify.complete.inputs.split import split_inputs
from certify.complete.problem import Goals, VerificationProblem, Witness, outcome
from certify.complete.proofs.proof import CompleteProof, InputProof
from certify.complete.proofs.replay import replayed
from certify.complete.workers import Workers

ROOM = 60.0
SLACK = 0.03
OPEN = torch.ones(2, 2, dtype=torch.bool)


def proven(problem: VerificationProblem, workers: int = 1, open: Tensor = OPEN) -> InputProof:
    """The proof of what holds."""
    found = outcome(split_inputs(problem, open, Deadline(ROOM), workers))
    assert isinstance(found, InputProof)
    return found


def same(one: InputProof, other: InputProof) -> bool:
    """Whether two proofs are the very same."""
    trees = zip(one.tree.splits, other.tree.splits, strict=True)
    tensors = ((getattr(one, name), getattr(other, name)) for name in ("regions", "nodes", "weights", "shares"))
    return all(np.array_equal(a, b) for a, b in trees) and all(torch.equal(a, b) for a, b in tensors)


def holds(problem: VerificationProblem, proof: InputProof, open: Tensor = OPEN) -> bool:
    """Whether a replay, which believes no search, arrives at the same."""
    return bool((replayed(problem, CompleteProof("crown", ~open, proof)) | ~open).all())


@pytest.mark.parametrize(
    ("kind", "norm"), [("relu", "linf"), ("sigmoid", "linf"), ("conv", "linf"), ("relu", "l2"), ("relu", "l1")]
)
def test_leaves_cover_what_is_asked_about(problems, kind, norm):
    case = problems(kind, "cover", 0.005 if kind == "sigmoid" else SLACK, norm, radius=0.45)
    proof = proven(case.problem)
    assert len(proof.tree.splits[0]) > 3
    assert holds(case.problem, proof)
    found, leaves = proof.tree.boxes(case.problem.region.box), torch.from_numpy(proof.tree.leaves())
    root, box = torch.from_numpy(proof.tree.root())[leaves], case.problem.region.box
    lower, upper = found.lower[leaves], found.upper[leaves]
    volume = torch.zeros(2, dtype=torch.float64).index_add(0, root, (upper - lower).prod(1))
    assert torch.allclose(volume, (box.upper - box.lower).prod(1))
    for region in range(2):
        mine, points = root == region, case.points[region, :500].unsqueeze(1)
        assert ((points >= lower[mine]) & (points <= upper[mine])).all(2).any(1).all()
    assert torch.isin(proof.nodes, leaves).all()


@pytest.mark.parametrize("kind", ["relu", "conv"])
def test_workers_change_nothing_and_chunks_and_rounds_no_verdict(problems, kind, monkeypatch):
    problem = problems(kind, "threads", SLACK).problem
    monkeypatch.setattr(boxes, "CHUNK", 8)
    first = proven(problem)
    assert same(first, proven(problem))
    for workers in (2, 3):
        assert same(first, proven(problem, workers))
    monkeypatch.setattr(boxes, "ROUND", 2)
    monkeypatch.setattr(boxes, "MANY", 3)
    other = proven(problem, workers=2)
    assert not same(first, other)
    assert holds(problem, other)
    monkeypatch.setattr(boxes, "NUMBERS", 1)
    assert boxes.chunk(problem) == 1
    assert holds(problem, proven(problem))


def test_only_open_clauses_of_open_regions_are_cut(problems):
    case = problems("relu", "open", SLACK)
    goals = case.problem.goals
    d = goals.d.clone()
    d[0, :], d[1, 0] = -100, -100
    problem = replace(case.problem, goals=replace(goals, d=d), examine=lambda x: None)
    open = torch.tensor([[False, False], [False, True]])
    proof = proven(problem, open=open)
    assert proof.regions.tolist() == [1]
    assert holds(problem, proof, open)
    assert not replayed(problem, CompleteProof("crown", torch.zeros_like(open), proof))[~open].any()


def test_steps_count_the_boxes_that_were_looked_at(problems, monkeypatch):
    monkeypatch.setattr(boxes, "ROUND", 6)
    monkeypatch.setattr(boxes, "FEW", 0)  # what is cut twice at once is not looked at in between
    *steps, proof = split_inputs(problems("relu", "cover", SLACK).problem, OPEN, Deadline(ROOM))
    assert isinstance(proof, InputProof)
    assert sum(steps) == proof.tree.size  # type: ignore[arg-type]
    assert 0 < min(steps) <= max(steps) == 6  # type: ignore[type-var]


def with_fixed(case) -> VerificationProblem:
    """The same with the second input fixed: at a float, and at a decimal, which is a box as narrow as can be."""
    box = case.problem.region.box
    lower, upper = box.lower.clone(), box.upper.clone()
    upper[:, 1] = lower[:, 1]
    upper[1, 1] = torch.nextafter(lower[1, 1], torch.tensor(2.0).double())
    return replace(case.problem, region=Region(Interval(lower, upper)), examine=lambda x: None)


def test_inputs_that_are_fixed_are_never_cut(problems):
    problem = with_fixed(problems("relu", "fixed", -0.05))
    search = boxes._Search(problem, OPEN, Deadline(ROOM), Workers(1))
    for _ in range(12):
        assert search.round() is None
    assert len(search.tree.splits[1]) > 50
    assert set(search.tree.splits[1].tolist()) == {0, 2}
    assert not search.stuck


def test_boxes_that_floats_cannot_cut_end_the_search_without_a_result():
    """One row is 0 at a point, which nothing ever executes: the boxes around it end up as narrow as can be."""
    module = torch.nn.Linear(1, 1).requires_grad_(False)
    module.weight.fill_(1.0)
    module.bias.zero_()
    box = Interval(torch.tensor([[1.0]]).double(), torch.tensor([[1.0 + 2**-45]]).double())
    C, d = torch.tensor([1.0, -1.0]).double().reshape(1, 1, 2, 1), torch.tensor([-1.0, 1.0]).double().reshape(1, 1, 2)
    problem = VerificationProblem(
        import_module(module, torch.zeros(1, 1)), Region(box), Goals(C, None, d), "exact", lambda x: None
    )
    deadline = Deadline(ROOM)
    assert outcome(split_inputs(problem, torch.ones(1, 1, dtype=torch.bool), deadline)) is None
    assert not deadline.passed
    fixed = replace(problem, region=Region(Interval(box.lower, box.lower)))
    assert outcome(split_inputs(fixed, torch.ones(1, 1, dtype=torch.bool), deadline)) is None


@dataclass
class Clock:
    """A deadline that passes once something was called so often."""

    calls: int
    seen: int = 0
    left: float = math.inf

    @property
    def passed(self) -> bool:
        """Whether it did."""
        return self.seen >= self.calls

    def check(self) -> None:
        """As a deadline does."""
        if self.passed:
            raise OutOfTime


@pytest.mark.parametrize("workers", [1, 2])
def test_the_time_limit_is_looked_at_within_a_round(problems, monkeypatch, workers):
    # Each process has a clock of its own.
    problem, clock = problems("relu", "cover", SLACK).problem, Clock(40 // workers)

    def slow(*args):
        *args, deadline = args
        deadline.check()
        clock.seen += 1
        return assess.assess(*args)

    monkeypatch.setattr(boxes, "CHUNK", 1)
    monkeypatch.setattr(boxes, "assess", slow)
    monkeypatch.setattr(boxes, "ROUND", 10**6)
    monkeypatch.setattr(boxes, "FEW", 0)
    *steps, last = split_inputs(problem, OPEN, clock, workers)  # type: ignore[arg-type]
    assert isinstance(last, int)
    assert sum(steps) + last < 40
    assert clock.seen <= 40 // workers
    assert outcome(split_inputs(problem, OPEN, Deadline(1e-9), workers)) is None


def test_the_time_limit_is_looked_at_while_boxes_are_claimed(problems, monkeypatch):
    problem, clock = problems("relu", "cover", SLACK).problem, Clock(3)

    def slow(*args):
        clock.seen += 1
        return torch.ones(1, 2, dtype=torch.bool)

    monkeypatch.setattr(boxes, "CHUNK", 1)
    monkeypatch.setattr(boxes, "refuted", slow)
    assert outcome(split_inputs(problem, OPEN, clock)) is None  # type: ignore[arg-type]
    assert clock.seen == 3


def test_what_cannot_be_claimed_is_cut_further(problems, monkeypatch):
    problem, calls = problems("relu", "claims", SLACK).problem, []
    plain = proven(problem)

    def failing(*args):
        found = boxes_refuted(*args)
        calls.append(len(found))
        return found & (len(calls) > 1)

    boxes_refuted = boxes.refuted
    monkeypatch.setattr(boxes, "refuted", failing)
    proof = proven(problem)
    assert len(proof.tree.leaves()) == len(plain.tree.leaves()) + calls[0]
    assert holds(problem, proof)
    monkeypatch.setattr(boxes, "refuted", lambda *args: torch.zeros_like(boxes_refuted(*args)))
    assert outcome(split_inputs(problem, OPEN, Deadline(1.0))) is None  # nothing is proven without a claim


def test_boxes_far_from_decided_go_first_until_they_are_too_many(problems, monkeypatch):
    problem = problems("relu", "order", SLACK).problem
    scores = torch.tensor([0.3, -5.0, 2.0, -1.0, 7.0, 0.0]).double()
    monkeypatch.setattr(boxes, "ROUND", 2)
    taken = []

    def spy(problem, open, some, deadline):
        taken.append(sorted(some.score.tolist()))
        return assess.assess(problem, open, some)

    monkeypatch.setattr(boxes, "assess", spy)
    for many in (6, 5):
        monkeypatch.setattr(boxes, "MANY", many)
        search = boxes._Search(problem, OPEN, Deadline(ROOM), Workers(1))
        search.pool = replace(search.pool.of(torch.zeros(6, dtype=torch.long)), score=scores)
        search.tree = boxes.Tree(6)
        search.pool = replace(search.pool, node=torch.arange(6))
        search.round()
    assert taken == [[-5.0, -1.0], [2.0, 7.0]]


def test_a_witness_comes_from_nothing_but_an_execution(problems):
    case = problems("relu", "witness", -0.1)
    problem, shown = case.problem, []

    def examine(x: Tensor) -> Witness | None:
        shown.append(x)
        return None

    quiet = replace(problem, examine=examine)
    for found in split_inputs(quiet, OPEN, Deadline(0.3)):
        assert isinstance(found, int)
    x = torch.cat(shown)
    assert x.dtype == problem.graph.dtype
    box, d = problem.region.box, x.double().unsqueeze(1)
    inside = ((d >= box.lower - 1e-6) & (d <= box.upper + 1e-6)).all(2)
    assert inside.any(1).all()
    y = problem.exact.forward(x.double())
    violated = torch.stack(
        [(problem.goals.of(torch.full((len(x),), i)).values(x.double(), y) <= 1e-5).all(2).any(1) for i in (0, 1)], 1
    )
    assert (inside & violated).any(1).all()
    [*_, found] = split_inputs(problem, OPEN, Deadline(ROOM))
    assert isinstance(found, Witness)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_looks_decide_no_box_with_a_violation_and_cut_the_others(problems, norm):
    case = problems("relu", "look", 0.02, norm)
    problem, generator = case.problem, torch.Generator().manual_seed(3)
    count, region = 300, torch.arange(300) % 2
    share = torch.rand(2, count, 3, generator=generator, dtype=torch.float64).sort(0).values
    box = problem.region.box.rows(region)
    width = box.upper - box.lower
    some = Boxes(
        box.lower + share[0] * width, box.lower + share[1] * width, torch.arange(count), region, torch.zeros(count)
    )
    points, lower = case.points[region], some.lower.unsqueeze(1)
    inside = ((points >= lower) & (points <= some.upper.unsqueeze(1))).all(2)
    best = case.values()[region].amax(3).masked_fill(~inside.unsqueeze(2), torch.inf).amin(1).amin(1)
    for slack in (0.0, 0.1, 0.3):
        goals = replace(problem.goals, d=problem.goals.d - slack)
        seen = assess.assess(replace(problem, goals=goals), OPEN, some)
        assert (best[seen.decided] > slack - 1e-4).all()
        assert (seen.cuts[~seen.decided] >= 0).all()
        assert seen.score[seen.decided].isinf().all()
        assert (seen.score[~seen.decided] <= (best[~seen.decided] - slack).clamp(min=0) + 1e-4).all()
        assert 0 < seen.decided.float().mean() < 1


@pytest.mark.parametrize("kind", ["relu", "conv"])
def test_claims_hold_by_the_planes_that_looks_found_and_only_by_them(problems, kind):
    problem, region = problems(kind, "claimed", 0.02, radius=1.0).problem, torch.arange(400) % 2
    generator = torch.Generator().manual_seed(4)
    share = torch.rand(2, 400, 3, generator=generator, dtype=torch.float64).sort(0).values
    box = problem.region.box.rows(region)
    low, high = (box.lower + part * (box.upper - box.lower) for part in share)
    some = Boxes(low, high, torch.arange(400), region, torch.zeros(400))
    seen = assess.assess(problem, OPEN, some)
    hinted = seen.decided & seen.planes.given
    assert hinted.sum() > 8
    planes = seen.planes.of(hinted)
    assert boxes.holds(problem, OPEN, some.of(hinted), planes).float().mean() > 0.9
    without = replace(planes, given=torch.zeros_like(planes.given))
    assert boxes.holds(problem, OPEN, some.of(hinted), without).float().mean() < 0.5
