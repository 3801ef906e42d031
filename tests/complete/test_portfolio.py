"""Who decides what, by turns and within one time budget; and that nothing is proven while a region is left."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from certify.bounds.deadline import Deadline
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete import portfolio
from certify.complete.inputs.split import split_inputs
from certify.complete.neurons.split import split_neurons
from certify.complete.portfolio import Hunt, decide
from certify.complete.problem import Goals, VerificationProblem, Witness, outcome
from certify.complete.proofs.replay import replayed
from certify.errors import BadInput

ROOM = 60.0
WITNESS = Witness(np.zeros(1), np.zeros(1))


def quiet(problem: VerificationProblem) -> VerificationProblem:
    """The same where executions confirm nothing."""
    return replace(problem, examine=lambda x: None)


def only(monkeypatch: pytest.MonkeyPatch, *ways: str) -> None:
    """Branch in some ways, whatever the width."""
    monkeypatch.setattr(portfolio, "NARROW", 10**6 if ways == ("inputs",) else 0)
    monkeypatch.setattr(portfolio, "WIDE", 0 if ways == ("neurons",) else 10**6)


def wide(slack: float) -> VerificationProblem:
    """30 inputs, and ``sum (relu(x) - relu(x) / 2)``, which is at least 0, and is so at 0: intervals say -15 at 1."""
    module = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 1)).requires_grad_(False)
    eye = torch.eye(30)
    module[0].weight.copy_(torch.cat([eye, eye]))
    module[2].weight.copy_(torch.cat([torch.ones(30), -torch.ones(30) / 2])[None])
    module[0].bias.zero_()
    module[2].bias.zero_()
    box = Interval(torch.zeros(1, 30, dtype=torch.float64), torch.ones(1, 30, dtype=torch.float64))
    goals = Goals(torch.ones(1, 1, 1, 1).double(), None, torch.full((1, 1, 1), slack, dtype=torch.float64))
    return VerificationProblem(import_module(module, torch.zeros(1, 30)), Region(box), goals, "exact", lambda x: None)


@pytest.mark.parametrize(("slack", "solver"), [(15.1, "ibp"), (0.1, "crown")])
def test_what_one_bound_decides_is_not_branched_on(slack, solver):
    problem = wide(slack)
    answer = decide(problem, Deadline(ROOM))
    assert (answer.outcome, answer.solver, answer.subproblems) == ("unsat", solver, 1)
    assert answer.proof is not None
    assert answer.proof.method == solver
    assert not answer.proof.open.any()
    assert replayed(problem, answer.proof).all()


def test_a_witness_that_points_show_needs_no_bounds(problems, monkeypatch):
    monkeypatch.setattr(portfolio, "refuted_directly", None)
    monkeypatch.setattr(portfolio, "split_inputs", None)
    answer = decide(problems("relu", "attack", -0.3).problem, Deadline(ROOM))
    assert (answer.outcome, answer.solver, answer.proof) == ("sat", "attack", None)
    assert answer.witness is not None


@pytest.mark.parametrize("ways", [("inputs",), ("neurons",), ("inputs", "neurons")])
def test_branching_proves_every_region_and_its_proof_replays(problems, monkeypatch, ways):
    only(monkeypatch, *ways)
    problem = problems("relu", "unsat", 0.02, radius=0.45).problem
    answer = decide(problem, Deadline(ROOM), workers=2)
    assert answer.outcome == "unsat"
    assert answer.solver in ways
    assert answer.proof is not None
    assert answer.witness is None
    assert not answer.proof.open.any()
    assert replayed(problem, answer.proof).all()
    if ways == ("inputs",):
        assert answer.proof.inputs is not None
        assert 2 < answer.subproblems <= answer.proof.inputs.tree.size
    if ways == ("neurons",):
        assert answer.proof.inputs is None
        assert sorted(one.region for one in answer.proof.neurons) == sorted(set(range(2)) - set(proven(answer.proof)))


def proven(proof) -> list[int]:
    """The regions all of whose clauses one bound refuted."""
    return proof.direct.all(1).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("ways", [("inputs",), ("neurons",), ("inputs", "neurons")])
def test_nothing_is_proven_while_one_region_is_left(problems, monkeypatch, ways):
    only(monkeypatch, *ways)
    problem = problems("relu", "left", 0.1).problem
    for region in range(2):
        d = problem.goals.d.clone()
        d[region, 1] -= 0.12
        false = quiet(replace(problem, goals=replace(problem.goals, d=d)))
        begin = time.monotonic()
        answer = decide(false, Deadline(0.4))
        assert answer.outcome in ("timeout", "unknown")
        assert answer.proof is answer.witness is None
        assert time.monotonic() - begin < 10


def scripted(monkeypatch, deadline: Deadline, inputs, neurons, hunt=()):
    """What is answered where both ways of branching, and the search for a witness, yield what they are told to."""
    order: list[str] = []

    def told(name: str, steps) -> Iterator:
        for step in steps:
            order.append(name)
            yield step

    only(monkeypatch, "inputs", "neurons")
    monkeypatch.setattr(portfolio, "refuted_directly", lambda problem, open, *_: torch.zeros_like(open))
    monkeypatch.setattr(portfolio, "split_inputs", lambda *_: told("inputs", inputs))
    monkeypatch.setattr(portfolio, "split_neurons", lambda *_: told("neurons", neurons))
    monkeypatch.setattr(portfolio, "hunt", lambda *_: iter(hunt))
    return decide(wide(0.0), deadline), order


def test_whichever_way_has_done_less_goes_on(monkeypatch):
    answer, order = scripted(monkeypatch, Deadline(ROOM), [3, 1, 1, WITNESS], [30, 75, 30, 300, 300])
    # 30 inputs vary; work of inputs: 90, 120, 150; of neurons: 30, 105, 135, 435
    assert order == ["inputs", "neurons", "neurons", "inputs", "neurons", "inputs", "neurons", "inputs"]
    assert (answer.outcome, answer.solver, answer.witness) == ("sat", "inputs", WITNESS)
    assert answer.subproblems == 3 + 1 + 1 + 30 + 75 + 30 + 300


def test_where_one_way_gives_up_the_other_goes_on(monkeypatch):
    answer, order = scripted(monkeypatch, Deadline(ROOM), [1], [1] * 20 + [WITNESS])
    assert (answer.outcome, answer.solver) == ("sat", "neurons")
    assert order.count("neurons") == 21
    answer, order = scripted(monkeypatch, Deadline(ROOM), [1] * 20 + [WITNESS], [1])
    assert (answer.outcome, answer.solver) == ("sat", "inputs")
    assert order.count("inputs") == 21


def test_giving_up_is_unknown_and_no_time_is_a_timeout(monkeypatch):
    answer, order = scripted(monkeypatch, Deadline(ROOM), [1, 2], [4])
    assert (answer.outcome, answer.subproblems, len(order)) == ("unknown", 7, 3)
    assert answer.reason
    deadline = Deadline(0.05)

    def slow() -> Iterator[int]:
        time.sleep(0.1)
        yield 1

    answer, _ = scripted(monkeypatch, deadline, slow(), slow())
    assert (answer.outcome, answer.proof, answer.reason) == ("timeout", None, "")
    assert scripted(monkeypatch, Deadline(1e-9), [1], [1])[0].outcome == "timeout"


@pytest.mark.parametrize(("piece", "steps"), [(0, 0), (2, 0), (7, 0), (8, 2), (9, 4), (10, 8), (11, 16)])
def test_the_search_for_a_witness_goes_on_before_bounds_before_branching_and_while(monkeypatch, piece, steps):
    """Two pieces come before any bounds, six before branching, one for two subproblems, then one in eight steps."""
    monkeypatch.setattr(portfolio, "PIECES_FIRST", 2)
    monkeypatch.setattr(portfolio, "PIECES_BEFORE_BRANCHING", 6)
    monkeypatch.setattr(portfolio, "SUBPROBLEMS_A_PIECE", 2)
    monkeypatch.setattr(portfolio, "FREQUENT_PIECES", 2)
    monkeypatch.setattr(portfolio, "STEPS_A_PIECE", 8)
    pieces = [None] * piece + [WITNESS]
    answer, order = scripted(monkeypatch, Deadline(ROOM), [1] * 100, [1] * 100, pieces)
    assert (answer.outcome, answer.solver) == ("sat", "attack")
    assert len(order) == steps
    assert answer.subproblems == steps


def test_pieces_while_branching_come_at_steps_that_no_clock_chooses():
    done: list[int] = []
    search = Hunt(done.append(step) for step in itertools.count())  # type: ignore[arg-type, func-returns-value]
    at = []
    for bounded in (1000, 100, 100, 10**6, *[1000] * 20):
        assert search.meanwhile(bounded) is None
        at.append(len(done))
    assert at[:4] == [3, 4, 4, 64]
    assert at[4:] == [64] * 3 + [65] * 8 + [66] * 8 + [67]
    ended = Hunt(iter([None, WITNESS]))
    assert ended.go_on(5) is WITNESS
    assert ended.go_on(5) is None


def test_regions_are_split_one_after_the_other_and_one_that_is_given_up_ends_it(problems):
    problem = quiet(problems("relu", "left", 0.1).problem)
    d = problem.goals.d.clone()
    d[1] -= 0.5
    false = replace(problem, goals=replace(problem.goals, d=d))
    open = torch.tensor([[True, False], [False, True]])
    *steps, last = portfolio._regions(false, open, Deadline(1.0), 1)
    assert all(isinstance(step, int) for step in (*steps, last))
    *_, proofs = portfolio._regions(problem, open, Deadline(ROOM), 1)
    assert [(one.region, one.clauses.tolist()) for one in proofs] == [(0, [0]), (1, [1])]  # type: ignore[union-attr]


def test_time_limits():
    for seconds in (0, -1, math.nan, -math.inf):
        with pytest.raises(BadInput, match="time limit"):
            Deadline(seconds)
    whole = Deadline(100.0)
    assert 99 < whole.left <= 100
    assert 49 < whole.part(0.5).left <= 50
    assert whole.part(0.5, most=3.0).left <= 3
    over = Deadline(1.0, begin=time.monotonic() - 2)
    assert over.passed
    assert over.left == 0
    begin = over.part(0.5)
    time.sleep(1e-4)
    assert begin.passed


def test_what_ends_a_search_is_its_outcome(problems):
    assert outcome(iter([1, 2])) is None
    assert outcome(iter([0, WITNESS])) is WITNESS
    problem = problems("relu", "attack", -0.3).problem
    assert isinstance(outcome(split_inputs(problem, torch.ones(2, 2, dtype=torch.bool), Deadline(ROOM))), Witness)
    assert isinstance(outcome(split_neurons(problem, 0, torch.arange(2), Deadline(ROOM))), Witness)
