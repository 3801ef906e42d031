"""Bounds of goals over boxes: no clause that a point violates is refuted, whatever planes and weights are believed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from certify.bounds.alpha_crown import Sharing, optimize_rows
from certify.bounds.backward import backward, minimum
from certify.bounds.crown import tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.inputs import rows
from certify.complete.inputs.rows import Planes, mixed_rows, refuted, refuted_directly
from certify.complete.problem import Goals, VerificationProblem
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

BOXES = 40
EVERYONE = slice(None)


def parts_of(case, key: object) -> tuple[VerificationProblem, Tensor]:
    """Boxes inside the first region, each with goals that its sampled points just violate, and which have any points.

    The clause's best row is -1e-9 at one of the points.
    """
    problem, points = case.problem, case.points[0]
    generator = seeded_generator("parts", key)
    whole = problem.region.rows(torch.zeros(BOXES, dtype=torch.long))
    share = torch.as_tensor(generator.uniform(size=(2, BOXES, 3))).sort(0).values
    share[:, ::4] = torch.stack([torch.zeros(3), torch.ones(3)]).double().unsqueeze(1)
    width = whole.box.upper - whole.box.lower
    box = Interval(whole.box.lower + share[0] * width, whole.box.lower + share[1] * width)
    inside = ((points >= box.lower.unsqueeze(1)) & (points <= box.upper.unsqueeze(1))).all(2)
    best = case.values()[0].amax(2).unsqueeze(0).masked_fill(~inside.unsqueeze(2), torch.inf).amin(1)
    goals = problem.goals.of(torch.zeros(BOXES, dtype=torch.long))
    goals = replace(goals, d=goals.d - best.nan_to_num(posinf=0).unsqueeze(2) - 1e-9)
    return replace(problem, region=Region(box, whole.constraint), goals=goals), inside.any(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "conv"])
@pytest.mark.parametrize("many", [1, 64])
def test_no_violated_clause_is_refuted_whatever_the_planes(problems, kind, norm, many, monkeypatch):
    monkeypatch.setattr(rows, "MANY", many)
    case = problems(kind, "planes", 0.0, norm)
    problem, met = parts_of(case, (kind, norm))
    generator = torch.Generator().manual_seed(1)
    empty = Planes.none(BOXES, problem.goals, problem.graph)
    higher = replace(problem.goals, d=problem.goals.d + 0.5)
    found = torch.zeros(2, BOXES, 2, dtype=torch.bool)
    for draw in range(6):
        weights, shares = (
            torch.randint(256, part.shape, generator=generator, dtype=torch.uint8)
            for part in (empty.weights, empty.shares)
        )
        if draw == 0:
            weights, shares = torch.full_like(weights, 255), torch.full_like(shares, 255)
        given = torch.rand(BOXES, generator=generator) < (0.5 if draw else 1)
        for i, goals in enumerate((problem.goals, higher)):
            wanted = torch.rand(BOXES, 2, generator=generator) < 0.5
            planes = Planes(weights, shares, given)
            found[i] |= refuted(problem, problem.region, goals, planes, wanted)
    assert not found[0][met].any()
    assert found[1][met].float().mean() > 0.3
    assert met.sum() > BOXES // 2


@pytest.mark.parametrize("many", [1, 64])
def test_what_one_type_of_coefficients_does_not_refute_is_tried_with_the_other(problems, many, monkeypatch):
    monkeypatch.setattr(rows, "MANY", many)
    tried = []
    monkeypatch.setattr(rows, "_refuted", lambda problem, graph, region, *others: tried.append(graph) or hidden(region))
    problem = problems("relu", "both", 0.0, regions=3).problem
    wanted = torch.tensor([[True, False], [True, True], [False, False]])
    hidden = lambda region: torch.tensor([[True, False]] * len(region.box.lower))  # noqa: E731
    none = Planes.none(3, problem.goals, problem.graph)
    found = refuted(problem, problem.region, problem.goals, none, wanted)
    assert tried == ([problem.mixed, problem.exact] if many == 1 else [problem.exact, problem.mixed])
    assert found.tolist() == [[True, False]] * 3
    wanted[1, 1] = False
    refuted(problem, problem.region, problem.goals, none, wanted)
    assert len(tried) == 3


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "conv"])
def test_direct_methods_refute_nothing_violated_and_the_second_what_the_first_does(problems, kind, norm, monkeypatch):
    case = problems(kind, "direct", 0.0, norm, regions=3)
    open = torch.ones(3, 2, dtype=torch.bool)
    counts = torch.zeros(2)
    for slack in (-1e-9, 0.05, 0.2, 0.4, 0.6, 1.0, 2.0, 4.0):
        goals = replace(case.problem.goals, d=case.problem.goals.d + slack)
        problem = replace(case.problem, goals=goals)
        cheap, tight = (refuted_directly(problem, open, method) for method in rows.DIRECT)
        assert not (cheap & ~tight).any()
        assert slack > 0 or not tight.any()
        counts += torch.stack([cheap.sum(), tight.sum()])
    assert 0 < counts[0] < counts[1]
    some = torch.tensor([[True, False], [False, False], [True, True]])
    assert torch.equal(refuted_directly(problem, some, "crown"), tight & some)
    assert not refuted_directly(problem, torch.zeros_like(open), "ibp").any()
    monkeypatch.setattr(rows, "CHUNK", 1)
    assert torch.equal(refuted_directly(problem, open, "crown"), tight)
    with pytest.raises(BadInput, match="method"):
        refuted_directly(problem, open, "alpha-crown")


def test_crown_goes_on_with_the_boxes_that_intervals_give():
    """A plane below relu on [-1, 2] says -1 where the box says 0."""
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).requires_grad_(False)
    module[0].weight.fill_(1.0)
    module[0].bias.zero_()
    one = torch.ones(1, 1, dtype=torch.float64)
    goals = Goals(torch.ones(1, 1, 1, 1).double(), None, one.reshape(1, 1, 1) / 2)
    graph = import_module(module, torch.zeros(1, 1))
    problem = VerificationProblem(graph, Region(Interval(-one, 2 * one)), goals, "exact", lambda x: None)
    for method in rows.DIRECT:
        assert refuted_directly(problem, torch.ones(1, 1, dtype=torch.bool), method).all()


def line(lower: float = 0.0, upper: float = 1.0, claim: str = "exact") -> VerificationProblem:
    """One input that is the output, and rows ``y - 0.1`` and ``0.3 - y``: each fails somewhere, their sum nowhere."""
    module = nn.Linear(1, 1).requires_grad_(False)
    module.weight.fill_(1.0)
    module.bias.zero_()
    box = Interval(torch.tensor([[lower]]).double(), torch.tensor([[upper]]).double())
    C, d = torch.tensor([1.0, -1.0]).double().reshape(1, 1, 2, 1), torch.tensor([-0.1, 0.3]).double().reshape(1, 1, 2)
    return VerificationProblem(
        import_module(module, torch.zeros(1, 1)), Region(box), Goals(C, None, d), claim, lambda x: None
    )


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_a_sum_of_rows_refutes_what_no_row_does(claim):
    problem = line(claim=claim)
    none = Planes.none(1, problem.goals, problem.graph)
    assert none.shares.shape == (1, 1, 0)
    for weights, given, holds in (
        ([255, 255], True, True),
        ([3, 3], True, True),
        ([255, 255], False, False),
        ([255, 0], True, False),
        ([1, 3], True, False),
        ([0, 0], True, False),
    ):
        planes = Planes(torch.tensor([[weights]], dtype=torch.uint8), none.shares, torch.tensor([given]))
        wanted = torch.ones(1, 1, dtype=torch.bool)
        assert refuted(problem, problem.region, problem.goals, planes, wanted).tolist() == [[holds]]


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_sums_of_rows_lose_no_more_than_their_slack(problems, claim):
    case = problems("relu", "slack", 0.0, claim=claim)
    problem, points = case.problem, case.points
    generator = seeded_generator("slack", claim)

    def hostile(*shape: int) -> Tensor:
        """Sizes from 1e-12 to 1e12: most of a sum is rounded away."""
        return torch.as_tensor(generator.normal(size=shape) * 10.0 ** generator.integers(-12, 13, shape))

    goals = Goals(hostile(2, 8, 3, 3), hostile(2, 8, 3, 3), hostile(2, 8, 3))
    weights = torch.as_tensor(generator.integers(0, 256, (2, 8, 3))).double()
    # Two rows that all but cancel.
    goals.C[:, ::2, 1], goals.d[:, ::2, 1] = -goals.C[:, ::2, 0], -goals.d[:, ::2, 0]
    goals.D[:, ::2, 1] = -goals.D[:, ::2, 0] * (1 + 2**-50)  # type: ignore[index]
    weights[:, ::2, 1] = weights[:, ::2, 0]
    layers = propagate(problem.exact, problem.region, claim=problem.claim, tighten=tighten)
    found, out = mixed_rows(goals, weights, layers, EVERYONE), problem.graph.output.name
    lost = 0
    for b in range(2):
        x = points[b, :2]
        y = problem.exact.forward(x)
        for k in range(8):
            for p in range(2):
                places = [Fraction(v) for v in (*y[p].tolist(), *x[p].tolist(), 1)]

                def at(*parts: Tensor, places: list[Fraction] = places) -> Fraction:
                    numbers = [v for part in parts for v in part.flatten().tolist()]
                    return sum((Fraction(v) * place for v, place in zip(numbers, places, strict=True)), Fraction(0))

                exact = sum(
                    Fraction(w) * at(goals.C[b, k, r], goals.D[b, k, r], goals.d[b, k, r])  # type: ignore[index]
                    for r, w in enumerate(weights[b, k].tolist())
                )
                off = abs(at(found.A[out][b, k], found.A[problem.graph.input][b, k], found.b[b, k]) - exact)  # type: ignore[index]
                assert off <= Fraction(found.slack[b, k].item())
                lost += off > 0
    assert lost > 16
    searched = propagate(problem.exact, problem.region, claim=None, tighten=tighten)
    assert not mixed_rows(goals, weights, searched, EVERYONE).slack.any()


def test_weights_of_rows_are_searched_for_with_the_planes(problems):
    problem = line()
    layers = propagate(problem.quick, problem.region.to(torch.float32), claim=None, tighten=tighten)
    goals = problem.goals.to(torch.float32)
    begin = torch.tensor([[[1.0, 0.0]]])
    lower, found = optimize_rows(layers, lambda w: mixed_rows(goals, w, layers, EVERYONE), EVERYONE, 10, begin)
    assert lower.item() > 0.05
    assert list(found) == [""]
    assert found[""].shape == (1, 1, 1, 2)
    assert torch.equal(begin, torch.tensor([[[1.0, 0.0]]]))

    case = problems("relu", "climb", 0.05, regions=4)
    quick, goals = case.problem.quick, case.problem.goals.to(torch.float32)
    layers = propagate(quick, case.problem.region.to(torch.float32), claim=None, tighten=tighten)
    half = torch.full((4, 2, 2), 0.5)
    before, after = (
        optimize_rows(layers, lambda w: mixed_rows(goals, w, layers, EVERYONE), EVERYONE, steps, half)
        for steps in (0, 8)
    )
    assert (after[0] >= before[0]).all()
    assert (after[0] > before[0] + 1e-3).float().mean() > 0.5
    assert torch.equal(before[1][""][0], half)
    weights = after[1].pop("")[0]
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights != half).any()
    asked = mixed_rows(goals, weights, layers, EVERYONE)
    again = minimum(layers, backward(layers, asked, EVERYONE, Sharing(after[1])), EVERYONE).lower
    assert torch.allclose(again, after[0], atol=1e-6)


def test_parts_of_a_region_keep_its_errors_and_have_boxes_of_their_own(problems):
    problem = problems("relu", "within", 0.0, regions=1).problem
    layers = propagate(problem.exact, problem.region, claim="exact", tighten=tighten)
    name = problem.graph.nodes[1].inputs[0]
    box = layers.boxes[name]
    low, high = box.lower.expand(3, -1), box.upper.expand(3, -1)
    part = layers.within({name: Interval(torch.maximum(low, high.clamp(max=0)), high)})
    assert part.boxes[name].shape == (3, *box.shape[1:])
    assert layers.boxes[name] is box
    assert part.outward
    for node in problem.exact.nodes:
        mine, its = part.error(node), layers.error(node)
        assert mine[0] is its[0]
        assert mine[1] is its[1]
        assert (mine[1] > 0).all()
    bent = problem.exact.nodes[1]
    assert (
        part.relaxation(bent, bent.operator).lower_slopes[0] >= layers.relaxation(bent, bent.operator).lower_slopes[0]
    ).all()  # type: ignore[arg-type]
    guess = propagate(problem.exact, problem.region, claim=None, tighten=tighten)
    assert not guess.within({}).outward


def test_planes_of_some_boxes_and_of_several_groups(problems):
    problem = problems("relu", "join", 0.0).problem
    none = Planes.none(5, problem.goals, problem.graph)
    assert none.weights.shape == (5, 2, 2)
    assert none.shares.shape == (5, 2, 24)
    assert not none.given.any()
    drawn = Planes(none.weights + torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1), none.shares, torch.arange(5) > 2)
    again = Planes.join([drawn.of(slice(0, 2)), drawn.of(torch.tensor([2, 3, 4]))])
    assert torch.equal(again.weights, drawn.weights)
    assert torch.equal(again.given, drawn.given)
