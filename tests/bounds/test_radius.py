"""The radius search: on functions whose root is known, and on networks whose radius is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from certify.bounds.deadline import NEVER
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.radii.bracket import bracket
from certify.bounds.radii.margins import MarginBounds
from certify.bounds.radii.radius import largest_tried, proven_radii
from certify.bounds.region import ball
from certify.core.norms import DUAL
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator

ROOTS = torch.as_tensor(seeded_generator("roots").uniform(0.02, 0.9, 200))
ONE = torch.ones(200, 1, dtype=torch.float64)


def close(margin, declared=(0.0, 0.1), cap=4.0, slope=None, **known):
    """Brackets of margins (which, radius) that are 1 at radius 0, one row each."""
    slope = 1 / ROOTS.unsqueeze(1) if slope is None else slope
    known = {"at_zero": ONE, "slope": slope, "declared": declared, "cap": cap, "tolerance": 1e-3, **known}
    return bracket(lambda which, r, proving: margin(which, r).unsqueeze(1), **known)


def spent(result):
    return result.searched + result.claimed


@pytest.mark.parametrize(
    ("margin", "most"),
    [
        (lambda which, r: 1 - r / ROOTS[which], 5),
        (lambda which, r: 1 - r / ROOTS[which] / 2 - (r / ROOTS[which]) ** 4 / 2, 8),
        (lambda which, r: 1 - torch.expm1(5 * r / ROOTS[which]) / math.expm1(5), 7),
        (lambda which, r: torch.where(r < ROOTS[which], 0.8, -5.0).double(), 14),
        (lambda which, r: torch.where(r < ROOTS[which], 1 - r / ROOTS[which], torch.nan).double(), 17),
        # Less is lost than the gradient says, as next to the ends of an input box.
        (lambda which, r: 1 - r.sqrt() / ROOTS[which].sqrt() / 5 - r / ROOTS[which] * 0.8, 8),
    ],
)
@pytest.mark.parametrize("hint", [1.0, 0.0, 1e9, torch.nan])
def test_brackets_close_around_the_root(margin, most, hint):
    result = close(margin, slope=hint / ROOTS.unsqueeze(1))
    assert (result.proven < ROOTS).all()
    assert (result.failed >= ROOTS - 1e-12).all()
    assert (result.failed <= result.proven * 1.001 * (1 + 1e-12)).all()
    assert spent(result).double().mean() <= most if hint == 1.0 else 24
    assert (result.claimed >= 1).all()


def test_rows_are_modelled_one_by_one():
    # The smallest of two rows has a kink next to the root, each row is smooth.
    def rows(which, r, proving):
        part = (r / ROOTS[which]).unsqueeze(1)
        return torch.cat([1 - 0.9 * part**2, 3 - 3 * part**3], dim=1)

    start = {"at_zero": torch.cat([ONE, 3 * ONE], 1), "slope": torch.cat([ONE, ONE], 1) * 1e-3}
    result = bracket(rows, **start, declared=(0.0,), cap=4.0, tolerance=1e-3)
    assert (result.proven < ROOTS).all()
    assert (result.failed <= result.proven * 1.001 * (1 + 1e-12)).all()
    assert spent(result).double().mean() <= 6.5


def test_declared_radii_are_decided_as_exactly_those_values():
    roots = 0.1 * (1 + torch.linspace(-1e-3, 1e-3, 200).double())
    roots[100] = 0.1
    result = close(lambda which, r: 1 - r / roots[which], declared=(0.05, 0.1))
    assert ((result.proven >= 0.1) == (roots > 0.1)).all()


def test_a_search_that_is_off_by_rounding_decides_nothing():
    # The search says that the root is 1e-4 lower, or higher, than the proof does.
    for off in (1 - 1e-4, 1 + 1e-4):

        def margins(which, r, proving, off=off):
            return (1 - r / (ROOTS[which] * (1 if proving else off))).unsqueeze(1)

        declared = (float(ROOTS[0]) * (1 - 1e-9), float(ROOTS[0]) * 1.00005)
        result = bracket(margins, at_zero=ONE, slope=ONE, declared=declared, cap=4.0, tolerance=1e-3)
        assert result.proven[0] == declared[0]
        assert (result.proven < ROOTS).all()
        able = declared[0] < ROOTS
        assert (result.proven[able] > ROOTS[able] * (1 - 2e-3)).all()


def test_a_declared_radius_that_was_refuted_is_not_tried_again():
    """The search believes in a declared radius just beyond the root, whatever the proof says."""
    declared, tried = float(ROOTS[0]) * 1.00005, []

    def margins(which, r, proving):
        tried.extend(r[which == 0].tolist() if proving else [])
        return (1 - r / (ROOTS[which] * (1 if proving else 1.001))).unsqueeze(1)

    result = bracket(margins, at_zero=ONE, slope=ONE, declared=(declared,), cap=4.0, tolerance=1e-3)
    assert result.proven[0] == 0
    assert tried.count(declared) == 1
    assert spent(result).max() <= 12


def test_where_margins_are_not_monotone_the_largest_radius_proven_stands():
    def margin(which, r):
        return torch.where((r > 0.3 * ROOTS[which]) & (r < 0.5 * ROOTS[which]), -0.1, 1 - r / ROOTS[which])

    result = close(margin)
    assert (result.proven > 0).all()
    assert (margin(torch.arange(200), result.proven) > 0).all()


def test_nothing_is_searched_below_the_smallest_declared_radius_or_above_the_cap():
    result = close(lambda which, r: 1 - r / ROOTS[which], declared=(0.4,), cap=0.8)
    hopeless = ROOTS <= 0.4 * (1 - 2e-3)
    assert (spent(result)[hopeless] == 1).all()
    assert (result.proven[hopeless] == 0).all()
    assert (result.proven[ROOTS > 0.8] == 0.8).all()
    assert (spent(result)[ROOTS > 0.8] <= 4).all()


def test_inputs_without_a_margin_are_left_alone():
    zero = torch.tensor([[0.0], [-1.0], [torch.nan]]).double()
    start = {"at_zero": zero, "slope": zero + 1, "declared": (0.0,), "cap": 1.0, "tolerance": 1e-3}
    result = bracket(lambda which, r, proving: r.unsqueeze(1) * 0 + 1, **start)
    assert (spent(result) == 0).all()


def test_an_input_is_searched_as_if_it_were_alone():
    noise = torch.as_tensor(seeded_generator("noise").uniform(-1, 1, (2, 200)))

    def noisy(part, which):
        return lambda chosen, r: 1 - (r / ROOTS[which[chosen]]) ** 2 * (1 + 1e-7 * noise[part, which[chosen]])

    order = torch.arange(200).flip(0)
    slope = 1 / ROOTS.unsqueeze(1)
    together = close(noisy(0, torch.arange(200)), slope=slope)
    among_others = close(noisy(1, order), slope=slope[order])
    assert (together.proven == among_others.proven.flip(0)).double().mean() >= 0.98
    alone = close(noisy(0, torch.tensor([7])), at_zero=ONE[:1], slope=slope[7:8])
    assert alone.proven == together.proven[7]
    assert alone.searched == together.searched[7]


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_search_starts_from_slopes_in_multiples_of_the_scale(points, norm):
    module = nn.Linear(4, 3).requires_grad_(False)
    module.weight.copy_(points("slope", 3, 4))
    x, scale = points("slope x", 5, 4), (1.0, 0.5, 0.0, 4.0)
    threat = ThreatModel(norm, (0.1,), scale=scale)
    _, slope = MarginBounds.of(import_module(module, x), x, torch.zeros(5, dtype=torch.long), threat).at_zero()
    gradient = (module.weight[0] - module.weight[1:]).double() * torch.tensor(scale)
    order = {"l1": 1, "l2": 2, "linf": math.inf}[DUAL[norm]]
    assert torch.allclose(slope, gradient.norm(p=order, dim=1).expand(5, 2), rtol=1e-6)


@pytest.mark.parametrize("method", ["ibp", "crown"])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_linear_classifiers_have_known_radii(points, norm, method):
    module = nn.Linear(5, 3).requires_grad_(False)
    module.weight.copy_(points("radius weight", 3, 5))
    module.bias.copy_(points("radius bias", 3))
    x = points("radius x", 40, 5)
    scores = module(x).double()
    classes = scores.argmax(1)
    weight = module.weight.double()
    order = {"l1": 1, "l2": 2, "linf": math.inf}[DUAL[norm]]
    gaps, norms = scores.max(1, keepdim=True).values - scores, (weight[classes][:, None] - weight).norm(p=order, dim=2)
    true = torch.where(gaps > 0, gaps / norms, torch.inf).amin(1)
    graph = import_module(module, x)
    found = proven_radii(graph, x, classes, ThreatModel(norm, (0.0, 0.3)), method)
    cap = largest_tried(ThreatModel(norm, (0.0, 0.3)), 5)
    radii = torch.tensor([proof.radius for proof in found]).double()
    assert (radii <= true + 1e-6).all()
    assert (radii >= true.clamp(max=cap) * (1 - 2e-3)).all()
    assert all(min(proof.margins) > 0 for proof in found)
    assert sum(proof.evaluations for proof in found) / 40 <= 6


def test_radius_zero_needs_a_margin_beyond_rounding():
    module = nn.Linear(2, 2, bias=False).requires_grad_(False)
    module.weight.copy_(torch.eye(2))
    graph = import_module(module, torch.zeros(1, 2))
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    x = torch.tensor([[0.5, 0.5], [float(above), 0.5]])
    tie, ahead = proven_radii(graph, x, torch.tensor([0, 0]), ThreatModel("linf", (0.0,), (0.0, 1.0)), "crown")
    assert tie.radius is None
    assert ahead.radius is not None
    assert 0 <= ahead.radius < 6e-8


@pytest.mark.parametrize(("norm", "declared"), [("linf", 0.05), ("l2", 0.1), ("l1", 0.2)])
def test_a_network_takes_few_evaluations(mlp, points, norm, declared):
    x = points("few", 64, 4)
    graph, classes = import_module(mlp, x), mlp(x).argmax(1)
    found = proven_radii(graph, x, classes, ThreatModel(norm, (0.0, declared)), "crown")
    free = [proof for proof in found if proof.radius < 4 * declared]
    assert len(free) > 16
    assert sum(proof.searched + proof.claimed for proof in free) / len(free) <= 6.5
    assert all(proof.failed <= proof.radius * 1.001 * (1 + 1e-12) for proof in free)
    assert all(proof.at_zero == 1 for proof in found)


def test_radii_in_a_batch_and_alone(mlp, points):
    x = points("few", 24, 4)
    graph, classes, threat = import_module(mlp, x), mlp(x).argmax(1), ThreatModel("linf", (0.0, 0.05))
    together = proven_radii(graph, x, classes, threat, "crown")
    back = proven_radii(graph, x.flip(0), classes.flip(0), threat, "crown")[::-1]
    alone = [proven_radii(graph, x[i : i + 1], classes[i : i + 1], threat, "crown")[0] for i in range(len(x))]
    for others in (back, alone):
        same = [a.radius == b.radius for a, b in zip(together, others, strict=True)]
        assert sum(same) >= 23
        assert [a.radius for a in together] == pytest.approx([b.radius for b in others], rel=1e-3)


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_deciding_agrees_with_the_search(mlp, points, method):
    x = points("few", 64, 4)
    radii = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
    graph, classes, threat = import_module(mlp, x), mlp(x).argmax(1), ThreatModel("linf", radii)
    full = proven_radii(graph, x, classes, threat, method)
    short = proven_radii(graph, x, classes, threat, method, search=False)
    assert len({proof.radius for proof in short}) > 4
    for far, near in zip(full, short, strict=True):
        assert near.radius == max(radius for radius in radii if radius <= far.radius)
        assert near.searched == 0
        assert near.claimed <= 3


def test_cheap_methods_spare_the_dear_ones(mlp, points, scoped):
    calls = {"ibp": [], "crown": []}
    for name, seen in calls.items():

        def counted(graph, region, C, *, claim="exact", deadline=NEVER, bound=METHODS[name], seen=seen):
            seen.append((len(C), claim))
            return bound(graph, region, C, claim=claim, deadline=deadline)

        scoped(METHODS)[name] = counted
    x = points("few", 64, 4)
    radii = (0.005, 0.02, 0.05)
    graph, classes, threat = import_module(mlp, x), mlp(x).argmax(1), ThreatModel("linf", radii)
    weak, strong = (proven_radii(graph, x, classes, threat, name, search=False) for name in calls)
    calls["ibp"].clear(), calls["crown"].clear()
    both = proven_radii(graph, x, classes, threat, ("ibp", "crown"), search=False)
    settled = [proof.radius == radii[-1] for proof in weak]
    assert 0 < sum(settled) < 64
    assert sum(count for count, _ in calls["crown"]) <= 2 * (64 - sum(settled))
    for cheap, dear, proof in zip(weak, strong, both, strict=True):
        assert proof.radius == dear.radius
        if proof.radius is not None:
            assert proof.method == ("ibp" if proof.radius == cheap.radius else "crown")
    calls["crown"].clear()
    searched = proven_radii(graph, x, classes, threat, ("ibp", "crown"))
    most = max(count for count, claim in calls["crown"] if claim is None)
    assert most <= 64 - sum(settled)
    for done, proof in zip(settled, searched, strict=True):
        assert done <= (proof.method == "ibp")


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_claims_about_executions_reach_less_far(mlp, points, method):
    x = points("few", 32, 4)
    graph, classes, threat = import_module(mlp, x), mlp(x).argmax(1), ThreatModel("linf", (0.0, 0.05))
    chosen, radius = torch.arange(32), torch.full((32,), 0.01, dtype=torch.float64)
    exact, float32 = (
        METHODS[method](graph.to(torch.float64), ball(x.double(), radius, "linf", None), rows(classes), claim=claim)
        for claim in ("exact", "float32")
    )
    assert (float32.lower < exact.lower)[chosen].all()
    for near, far in zip(
        proven_radii(graph, x, classes, threat, method, claim="float32"),
        proven_radii(graph, x, classes, threat, method),
        strict=True,
    ):
        assert near.radius <= far.radius
        assert near.slack > far.slack


def rows(classes):
    return torch.stack([torch.tensor(TOP_CLASS.rows(int(k), 3)[0]) for k in classes])


def test_scaled_radii_count_by_the_scale():
    module = nn.Linear(3, 2, bias=False).requires_grad_(False)
    module.weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    graph, x = import_module(module, torch.zeros(1, 3)), torch.full((1, 3), 0.25)
    for norm, dual in (("linf", 3.0), ("l2", math.sqrt(5.0)), ("l1", 2.0)):
        threat = ThreatModel(norm, (0.0, 0.2), scale=(2.0, 0.0, 1.0))
        [proof] = proven_radii(graph, x, torch.tensor([0]), threat, "crown")
        assert 0.998 * 0.75 / dual < proof.radius < 0.75 / dual


def test_the_cap_is_the_box_or_a_multiple_of_the_largest_radius():
    box = (0.0, 1.0)
    assert largest_tried(ThreatModel("linf", (0.1,), box), 9) == pytest.approx(0.4)
    assert largest_tried(ThreatModel("linf", (0.5,), box), 9) == 1.0
    assert largest_tried(ThreatModel("l2", (0.0,), box), 9) == 3.0
    assert largest_tried(ThreatModel("l1", (0.0,)), 9) == 1.0
    assert largest_tried(ThreatModel("l1", (0.0,), box, scale=(1.0, 0.0, 0.5)), 3) == 3.0
