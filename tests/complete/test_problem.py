"""Queries in exact numbers as tensors: never easier to prove than what was asked."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.problem import Goals, VerificationProblem, of_query
from certify.complete.query import Condition, Disjunct, Query
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

INPUTS, OUTPUTS = 3, 2

GRAPH = import_module(nn.Linear(INPUTS, OUTPUTS).requires_grad_(False), torch.zeros(1, INPUTS))


def posed(*cases: Disjunct) -> VerificationProblem:
    return of_query(Query(INPUTS, OUTPUTS, cases), GRAPH, "exact", lambda x: None)


def number(rng: np.random.Generator, kind: int) -> Fraction:
    """A small whole number, a decimal, a third, a whole number beyond 2^53, or one of many digits; never 0."""
    small = Fraction(int(rng.integers(1, 100)) * (-1) ** int(rng.integers(2)))
    huge = int(rng.integers(2**53, 2**62)) * 2 + 1
    return (small, small / 10, small / 3, small * huge, small + Fraction(1, huge))[kind]


def numbers(rng: np.random.Generator, count: int, whole: bool = False) -> list[Fraction]:
    return [number(rng, int(rng.choice([0, 0, 3]) if whole else rng.integers(5))) for _ in range(count)]


def drawn(rng: np.random.Generator, box: tuple[list[Fraction], list[Fraction]]):
    """A case that holds with equality at a point of its box, often a corner, and with outputs of any size."""
    lower, upper = box
    share = [Fraction(int(v), 4) for v in rng.choice([0, 0, 1, 3, 4, 4], INPUTS)]
    x = [low + s * (high - low) for low, s, high in zip(lower, share, upper, strict=True)]
    y = [v / 7 for v in numbers(rng, OUTPUTS)]
    conditions = []
    for _ in range(int(rng.integers(4))):
        a = tuple(enumerate(numbers(rng, INPUTS, whole=True)))[: int(rng.integers(INPUTS + 1))]
        b = tuple((i, Fraction(int(rng.integers(1, 9)) - 9)) for i in range(int(rng.integers(OUTPUTS + 1))))
        bound = sum((c * x[i] for i, c in a), Fraction(0)) + sum((c * y[i] for i, c in b), Fraction(0))
        conditions.append(Condition(a, b, bound, strict=False))
    return Disjunct(tuple(lower), tuple(upper), tuple(conditions)), x, y


def test_what_holds_exactly_makes_no_row_positive():
    """Where a case holds with equality, rounding a number to the wrong side shows."""
    rng = seeded_generator("queries")
    rows = tight = 0
    for _ in range(60):
        queried, at = [], []
        for group in range(int(rng.integers(1, 4))):
            ends = [sorted((number(rng, int(rng.integers(1, 5))), number(rng, 1))) for _ in range(INPUTS)]
            box = [low for low, _ in ends], [high for _, high in ends]
            for place in range(int(rng.integers(1, 4))):
                case, x, y = drawn(rng, box)
                assert case.holds(x, y)
                queried.append(case)
                at.append((group, place, x, y))
        problem = posed(*queried)
        goals, region = problem.goals, problem.region.box
        clauses, most = (
            max(sizes) for sizes in ([p + 1 for _, p, *_ in at], [1, *(len(c.conditions) for c in queried)])
        )
        assert goals.d.shape == (at[-1][0] + 1, clauses, most)
        filled = torch.ones(goals.d.shape[:2], dtype=torch.bool)
        for case, (group, place, x, y) in zip(queried, at, strict=True):
            filled[group, place] = False
            for lower, upper, low, high in zip(
                case.lower, case.upper, region.lower[group].tolist(), region.upper[group].tolist(), strict=True
            ):
                assert Fraction(low) <= lower < Fraction(math.nextafter(low, math.inf))
                assert Fraction(math.nextafter(high, -math.inf)) < upper <= Fraction(high)
            for r in range(most):
                d = goals.d[group, place, r].item()
                C = [Fraction(v) for v in goals.C[group, place, r].tolist()]
                D = (
                    [Fraction(0)] * INPUTS
                    if goals.D is None
                    else [Fraction(v) for v in goals.D[group, place, r].tolist()]
                )
                if r >= len(case.conditions):
                    assert d == -1
                    assert not any(C + D)
                    continue
                value = sum((a * b for a, b in zip(C + D, y + x, strict=True)), Fraction(d))
                assert value <= 0
                ends = [max(abs(low), abs(high)) for low, high in zip(case.lower, case.upper, strict=True)]
                size = sum((abs(a * b) for a, b in zip(C + D, y + ends, strict=True)), abs(Fraction(d)))
                assert value >= -size / 2**49  # and not much is given away
                rows, tight = rows + 1, tight + (value == 0)
        assert (goals.d[filled] == 1).all()
        assert not goals.C[filled].any()
    assert rows > 200
    assert 0 < tight < rows


BOX = ((Fraction(0),) * INPUTS, (Fraction(1),) * INPUTS)
ODD = Fraction(2**53 + 1)


def test_conditions_on_outputs_that_floats_cannot_weigh_are_never_refuted():
    one, odd = (Condition((), ((0, b),), Fraction(-5)) for b in (Fraction(2**53 + 2), ODD))
    goals = posed(Disjunct(*BOX, (one, odd))).goals
    assert goals.d.tolist() == [[[5.0, -math.inf]]]
    y = torch.full((1, OUTPUTS), 1e200, dtype=torch.float64)
    rows = goals.values(torch.zeros(1, INPUTS).double(), y).flatten(1)
    assert rows[0, 1] == -math.inf
    assert goals.refuted(rows[:, [1, 1]]).tolist() == [[False]]


def test_inputs_with_such_weights_cost_their_rounding():
    third = Disjunct((Fraction(-3), *BOX[0][1:]), BOX[1], (Condition(((0, ODD),), (), Fraction(-1)),))
    d = posed(third).goals.d.item()
    assert d == 1 - 3  # what 2^53 + 1 loses, 1, times 3


def test_strict_conditions_and_those_that_are_not_are_proven_alike():
    below, strictly = (Condition(((1, Fraction(2)),), ((0, Fraction(1)),), Fraction(1, 3), s) for s in (False, True))
    mine, its = (posed(Disjunct(*BOX, (one,))).goals for one in (below, strictly))
    assert torch.equal(mine.d, its.d)
    assert torch.equal(mine.C, its.C)
    assert mine.D is not None
    assert below.holds([0, 0, 0], [Fraction(1, 3)])
    assert not strictly.holds([0, 0, 0], [Fraction(1, 3)])


def test_a_case_without_conditions_is_never_refuted():
    asked = Disjunct(*BOX, (Condition((), ((0, Fraction(1)),), Fraction(0)),))
    other = Disjunct(BOX[0], (Fraction(1, 10),) * INPUTS, ())
    problem = posed(asked, other, asked)
    assert problem.goals.d.tolist() == [[[0.0], [0.0]], [[-1.0], [1.0]]]
    assert problem.goals.D is None
    bounds = problem.goals.rows(GRAPH).b
    assert problem.goals.refuted(bounds).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("where", ["x", "y", "bound", "box"])
def test_numbers_beyond_every_format_are_refused_in_one_line(where):
    huge = {name: Fraction(10) ** 400 if name == where else Fraction(1) for name in ("x", "y", "bound", "box")}
    condition = Condition(((0, huge["x"]),), ((0, huge["y"]),), huge["bound"])
    with pytest.raises(BadInput, match="beyond every floating-point format") as refusal:
        posed(Disjunct(BOX[0], (*BOX[1][1:], huge["box"]), (condition,)))
    assert "\n" not in str(refusal.value)


def test_numbers_that_are_smaller_than_every_float_are_rounded_outward():
    tiny = Fraction(1, 10**400)
    weighed = Condition(((0, tiny),), ((0, Fraction(1)),), tiny)
    problem = posed(Disjunct((-tiny,) * INPUTS, (tiny,) * INPUTS, (weighed, Condition((), ((0, tiny),), Fraction(0)))))
    assert (problem.region.box.lower < 0).all()
    assert (problem.region.box.upper > 0).all()
    assert problem.goals.d[0, 0, 0] < 0
    assert problem.goals.d[0, 0, 1] == -math.inf


def test_rows_are_what_goals_say_at_points(problems):
    case = problems("relu", "rows", 0.1)
    goals, graph = case.problem.goals, case.problem.exact
    x = case.points[:, 0]
    y = graph.forward(x)
    rows = goals.rows(graph)
    found = (rows.A[graph.output.name] @ y.unsqueeze(2) + rows.A[graph.input] @ x.unsqueeze(2)).squeeze(2) + rows.b  # type: ignore[operator]
    assert torch.allclose(found.reshape(goals.d.shape), goals.values(x, y))
    assert (goals.sizes(x, y) >= goals.values(x, y).abs()).all()
    assert (goals.sizes(-x, -y) == goals.sizes(x, y)).all()
    assert case.values().amax(3).amin(1).flatten().tolist() == pytest.approx([0.1] * 4)
    assert torch.equal(goals.of(torch.tensor([1])).to(torch.float32).C, goals.C[1:].float())


def test_one_positive_row_refutes_and_nan_does_not():
    goals = Goals(torch.zeros(1, 3, 2, OUTPUTS), None, torch.zeros(1, 3, 2))
    lower = torch.tensor([[0.0, -1.0, torch.nan, 1e-30, torch.nan, 0.0]])
    assert goals.refuted(lower).tolist() == [[False, True, False]]


def test_inputs_that_are_fixed_at_decimals_are_not_counted():
    tenth = Fraction(1, 10)
    fixed, free = (
        Disjunct((tenth, tenth, Fraction(0)), (tenth, upper, Fraction(0)), ()) for upper in (tenth, Fraction(1))
    )
    assert posed(fixed).wide == 0
    assert posed(fixed, free).wide == 1
    assert (posed(fixed).region.box.lower < posed(fixed).region.box.upper).any()
    narrow = Interval(torch.tensor([[1.0, -5.0, 0.0]]), torch.tensor([[1.0 + 1e-3, -4.0, 1e-30]]))
    assert VerificationProblem(GRAPH, Region(narrow), posed(fixed).goals, "exact", lambda x: None).wide == 3


def test_cases_of_one_box_are_one_region():
    a, b = Disjunct(*BOX, ()), Disjunct(BOX[0], (Fraction(2),) * INPUTS, ())
    same = Disjunct(tuple(Fraction(0) for _ in range(INPUTS)), tuple(Fraction(2, 2) for _ in range(INPUTS)), ())
    assert Query(INPUTS, OUTPUTS, (a, b, same)).together() == ((a, same), (b,))
    with pytest.raises(BadInput, match="vacuous"):
        Query(INPUTS, OUTPUTS, ())
    assert Disjunct(BOX[1], BOX[0], ()).empty
    assert not Disjunct(BOX[0], BOX[0], ()).empty
