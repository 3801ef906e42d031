"""What every threat has to answer: records, distances, minima and moves, held against enumeration."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.attacks.moves import moves_of
from certify.bounds.deadline import Deadline
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region, region_of
from certify.certifiers.bounds import Bounds
from certify.certifiers.complete import Complete
from certify.complete.inputs.split import split_inputs
from certify.complete.neurons.split import split_neurons
from certify.complete.problem import Witness, outcome
from certify.complete.proofs.proof import CompleteProof
from certify.complete.proofs.replay import replayed
from certify.complete.question import Question
from certify.core.input_box import BoxLike
from certify.core.norms import NORMS, distance_up
from certify.core.threats.base import THREATS, Threat, threat_from
from certify.core.threats.categories import Categories
from certify.core.threats.features import Features
from certify.core.threats.lp import ThreatModel
from certify.core.threats.patch import Patch
from certify.core.threats.substitutions import Substitutions
from certify.core.threats.transform import Transform
from certify.errors import BadInput
from certify.models.classifier import Classifier

CHOSEN = {"product": {"parts": "rotation=10,fade=0.5"}, "own": {"function": "os:getpid"}}
"""What transforms need that have no usual settings."""

APART = {"insertions": "certifiers/test_erasing.py"}
"""Threats without boxes, minima and gradients, and where their tests are."""

SETS = {0: [0, 1, 4], 1: [1, 2], 2: [2, 0], 3: [3, 4, 1]}
"""Substitution sets; token 4 is never replaced, and has the number of an end of the input box."""

EXAMPLES = {
    "lp": [ThreatModel(norm, (0.0, 0.1), (0.0, 1.0)) for norm in NORMS],
    "features": [
        Features((0, 1, 2), input_box=(0.0, 1.0)),
        Features((1, 2), groups="0:2,2+4", input_box=(-1.0, 2.0)),
    ],
    "categories": [Categories((0, 1, 2), groups="0:2,2:5"), Categories((1,), groups=[[0, 1, 2], [3, 4]])],
    "patch": [Patch((0, 1, 2), input_box=(0.0, 1.0))],
    "substitutions": [
        Substitutions((0, 1, 2), SETS),
        Substitutions((1, 2), SETS, places="0,2:5", input_box=(0.0, 4.0), source="by hand"),
    ],
} | {
    name: [member((0.0, 0.1), **CHOSEN.get(name, {}))]
    for name, member in THREATS.items()
    if issubclass(member, Transform)
}


@dataclass(frozen=True, slots=True)
class Dimmed(Threat):
    """Each feature falls by at most the radius: neither a norm's ball nor counted."""

    kind: ClassVar[str] = "dimmed"
    norm: ClassVar[str] = "dimmed"

    radii: tuple[float, ...]
    input_box: BoxLike = None
    units: str = "darker"
    may = "dim every feature, each by at most the radius"

    @classmethod
    def from_dict(cls, fields):
        return cls(tuple(fields["radii"]), fields["input_box"], fields["units"])

    def distance(self, x, x_adv):
        return distance_up(x, x_adv, "linf") if (x_adv <= x).all() else np.inf

    def hull(self, x, radius, lower, upper):
        return lower.maximum(x - radius.unsqueeze(1)), x.minimum(upper)

    def minimum(self, A, x, radius, lower, upper):
        low, high = self.hull(x, radius, lower, upper)
        return (A.clamp(min=0) * low.unsqueeze(1) + A.clamp(max=0) * high.unsqueeze(1)).sum(dim=2)

    def misses(self, x, radius, lower, upper):
        low, high = self.hull(x, radius, lower, upper)
        return (low > high).any(dim=1)

    def project(self, x, z, radius, lower, upper):
        low, high = self.hull(x, radius * (1 - 1e-6), lower, upper)
        return z.minimum(high).maximum(low)

    def climb(self, x, z, gradient, share, radius, lower, upper):
        return self.project(x, z + share * radius.unsqueeze(1) * gradient.sign(), radius, lower, upper)

    def random(self, x, radius, lower, upper, generator):
        return self.project(x, x - radius * x.new_empty(x.shape).uniform_(generator=generator), radius, lower, upper)


EVERY = [*(one for name in THREATS if name not in APART for one in EXAMPLES[name]), Dimmed((0.0, 0.1), (0.0, 1.0))]
COUNTED = [threat for threat in EVERY if threat.counted]
DIRECT = [threat for threat in EVERY if not isinstance(threat, Transform)]  # the others: certifiers/test_transforms.py


def inputs(threat, count=3):
    """Inputs that the threat is about."""
    generator = np.random.default_rng(0)
    shape = (2, 2, 3) if isinstance(threat, Patch) else (5,)
    x = generator.random((count, *shape)).astype(np.float32)
    if isinstance(threat, Categories):
        for row, group in itertools.product(range(count), threat.groups):
            x[row, list(group)] = np.eye(len(group), dtype=np.float32)[generator.integers(len(group))]
    if isinstance(threat, Substitutions):
        x = generator.integers(0, 5, (count, *shape)).astype(np.float32)
    return torch.from_numpy(x)


def reached(threat, x, radius):
    """The extreme points that a counted threat reaches from one flat input (features,), each listed by hand."""
    if isinstance(threat, Patch):
        yield from patched(x, radius)
        return
    groups = threat.groups or tuple((feature,) for feature in range(len(x)))
    low, high = threat.input_box or (0.0, 1.0)
    for changed in itertools.combinations(groups, radius):
        if isinstance(threat, Categories):
            choices = [torch.eye(len(group)) for group in changed]
        elif isinstance(threat, Substitutions):
            choices = [torch.tensor(SETS.get(int(x[place]), [int(x[place])]))[:, None] for [place] in changed]
        else:
            choices = [torch.tensor(list(itertools.product((low, high), repeat=len(group)))) for group in changed]
        for values in itertools.product(*choices):
            point = x.clone()
            for group, value in zip(changed, values, strict=True):
                point[list(group)] = value.to(point)
            yield point


def patched(x, side):
    """All corners of the box at each place of a patch in a flat image of 2 channels with 2 lines of 3 pixels."""
    for top, left in itertools.product(range(3 - side), range(4 - side)):
        square = itertools.product(range(2), range(top, top + side), range(left, left + side))
        entries = [6 * channel + 3 * row + column for channel, row, column in square]
        for values in itertools.product((0.0, 1.0), repeat=len(entries)):
            point = x.clone()
            point[entries] = x.new_tensor(values)
            yield point


def test_threats_apart_have_tests_of_their_own():
    assert {name for name, one in THREATS.items() if one.apart} == APART.keys()


def test_two_threats_say_in_what_they_differ():
    masked = replace(EXAMPLES["lp"][0], scale=(1.0, 0.0))
    for one, other in itertools.product([*EVERY, masked], repeat=2):
        assert (one.difference(other) == "") == (one.at((0.0,)).to_dict() == other.at((0.0,)).to_dict())
    assert masked.difference(EXAMPLES["lp"][0]) == "the scale is (1.0, 0.0) and none"
    groups = Features((1,), groups=[[feature] for feature in range(100)], units="features changed")
    assert groups.difference(Features((1,))) == f"the groups are sha256 {groups.named['threat'][:8]} and none"
    assert groups.difference(replace(groups, radii=(2,))) == ""


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_records_make_the_same_threat_again(threat, scoped):
    scoped(THREATS)[threat.kind] = type(threat)
    again = threat_from(json.loads(json.dumps(threat.to_dict())))
    assert again == threat
    assert again.named == threat.named
    assert again.named_by({"steps": 3, **threat.named})


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_an_input_is_reached_at_radius_0_and_says_what_it_is(threat):
    x = inputs(threat)
    threat.check_inputs(x.numpy())
    assert threat.distance(x[0].numpy(), x[0].numpy()) == 0
    assert threat.contains(x[0].numpy(), x[0].numpy(), 0.0)
    assert threat.may
    assert threat.change
    region = region_of(threat, x.double(), torch.zeros(len(x)))
    assert torch.equal(region.box.lower, x.double())
    assert torch.equal(region.box.upper, x.double())


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_moves_stay_in_the_threat(threat):
    x, moves, generator = inputs(threat), moves_of(threat), torch.Generator().manual_seed(0)
    radius = threat.largest
    z = x + torch.randn(x.shape, generator=generator)
    gradient = torch.randn(x.shape, generator=generator)
    starts = moves.random(x, radius, [generator] * len(x))
    for points in (moves.project(x, z, radius), moves.climb(x, x, gradient, 0.1, radius), starts):
        for one, point in zip(x.numpy(), points.numpy(), strict=True):
            assert threat.contains(one, point, radius)


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_a_step_does_not_lose_what_it_climbs(threat):
    x = inputs(threat)
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    step = moves_of(threat).climb(x, x, gradient, 0.1, threat.largest)
    assert bool(((gradient * (step - x)).flatten(1).sum(dim=1) >= 0).all())


@pytest.mark.parametrize("threat", COUNTED, ids=str)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_minimum_of_a_linear_form_is_that_of_all_points(threat, radius):
    x = inputs(threat).double()
    A = torch.randn(len(x), 4, x[0].numel(), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    region = region_of(threat, x, torch.full((len(x),), float(radius)))
    least, error = region.least(A, 0)
    for row in range(len(x)):
        points = torch.stack(list(reached(threat, x[row].flatten(), radius)))
        exact = (A[row] @ points.T).amin(dim=1)
        assert torch.allclose(least[row], exact, atol=1e-12)
        assert bool((least[row] - error[row] <= exact).all())
        assert bool((error[row] < 1e-11).all())


@pytest.mark.parametrize("certifier", [Bounds("crown"), Bounds("auto", timeout=60.0), Complete(gap=0.01)])
@pytest.mark.parametrize("threat", [threat for threat in DIRECT if not threat.counted], ids=str)
def test_what_is_not_counted_is_searched_between_declared_radii_and_checked(threat, certifier, scoped):
    scoped(THREATS)[threat.kind] = type(threat)
    network = nn.Linear(5, 2, bias=False).requires_grad_(False).eval()
    network.weight.copy_(torch.tensor([[1.0, 1, 1, 1, 1], [0, 0, 0, 0, 0]]))
    clf, x = Classifier(network, num_classes=2, input_box=None), torch.tensor([[0.1, 0.0, 0.0, 0.2, 0.1]])
    threat = replace(threat, input_box=None).at((0.01, 0.03))
    [one] = certify.certify(clf, x, threat=threat, certifier=certifier)
    exact = {"l1": 0.4, "l2": 0.4 / 5**0.5, "linf": 0.08, "dimmed": 0.08}[threat.norm]
    assert (
        0.99 * min(exact, 0.12) <= one.radius <= exact + 1e-7
    )  # no radius beyond four times the declared ones is tried
    assert certify.check(one, clf, x[0])


@pytest.mark.parametrize("threat", COUNTED, ids=str)
def test_parts_of_the_box_are_bounded_and_missed_truly(threat):
    x, generator = inputs(threat, count=1).double(), torch.Generator().manual_seed(3)
    region = region_of(threat, x, torch.tensor([1.0]))
    flat = x[0].flatten()
    A = torch.randn(1, 3, len(flat), generator=generator, dtype=torch.float64)
    points = torch.stack([flat, *reached(threat, flat, 1)])
    empty = 0
    for cut in range(200):
        ends = torch.rand(2, *x.shape, generator=generator, dtype=torch.float64)
        ends = ends.round(decimals=0 if cut % 2 else 2)
        kept = torch.rand(x.shape, generator=generator) < cut / 200  # most features are cut at first, few at last
        ends[0], ends[1] = ends[0].masked_fill(kept, 0.0), ends[1].masked_fill(kept, 1.0)
        lower = region.box.lower + ends.amin(dim=0) * (region.box.upper - region.box.lower)
        upper = region.box.lower + ends.amax(dim=0) * (region.box.upper - region.box.lower)
        part = type(region.box)(lower, upper)
        inside = points[((lower.flatten() <= points) & (points <= upper.flatten())).all(dim=1)]
        if bool(region.constraint.part(part)[1]):
            empty += 1
            assert len(inside) == 0
        else:
            least, error = Region(part, region.constraint).least(A, 0)
            assert len(inside) == 0 or bool((least[0] - error[0] <= (A[0] @ inside.T).amin(dim=1)).all())
    assert 0 < empty < 200


@pytest.mark.parametrize("threat", EVERY, ids=str)
@pytest.mark.parametrize(("samples", "sets"), [(1, 3), (3, 1)])
def test_one_sample_stands_for_all(threat, samples, sets):
    x = inputs(threat, sets).double()
    A = torch.randn(samples, 4, x[0].numel(), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    region = region_of(threat, x, torch.full((sets,), threat.largest))
    everyone = torch.arange(3)
    apart = region.rows(everyone % sets).least(A[everyone % samples], 4)
    for together, each in zip(region.least(A, 4), apart, strict=True):
        assert torch.allclose(together, each, atol=1e-14)


def question(threat, radius, slack):
    """Whether a small network keeps its class within a radius: at thousands of points, it does so with this slack."""
    generator, x = torch.Generator().manual_seed(5), inputs(threat, 1)
    layers = nn.Linear(x[0].numel(), 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    network = nn.Sequential(nn.Flatten(), *layers).eval()
    network.requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 2 / parameter[0].numel() ** 0.5)
    everywhere = x.expand(20_000, *x.shape[1:])
    far = torch.tensor([1.0, 4.0]).repeat(10_000).reshape(-1, *[1] * (x.dim() - 1))
    drawn = far * torch.randn(everywhere.shape, generator=generator)
    scores = network(moves_of(threat).project(everywhere, x + drawn, radius))
    network[-1].bias[0] += slack - (scores[:, 0] - scores[:, 1:].amax(dim=1)).amin()
    return Question(Classifier(network, num_classes=3), import_module(network, x), x[0], 0, threat, "exact")


@pytest.mark.parametrize("way", ["inputs", "neurons"])
@pytest.mark.parametrize("threat", DIRECT, ids=str)
def test_splitting_proves_what_no_point_contradicts_and_finds_what_does(threat, way):
    radius = threat.largest if threat.counted else 5 * threat.largest
    # Whole numbers far apart: where all neurons are decided, planes still have to hold between them.
    slack = 1.0 if isinstance(threat, Substitutions) else 0.1
    true, false = (question(threat, radius, slack).within(radius) for slack in (slack, -0.1))
    regions, clauses, limit = range(len(true.goals.d)), torch.arange(2), Deadline(100.0)
    nothing = torch.zeros(len(regions), 2, dtype=torch.bool)

    def searched(problem):
        if way == "inputs":
            return outcome(split_inputs(problem, ~nothing, limit))
        found = [outcome(split_neurons(problem, region, clauses, limit)) for region in regions]
        return next((one for one in found if isinstance(one, Witness)), tuple(found))

    found = searched(true)
    assert any(one.tree.size > one.tree.roots for one in ([found] if way == "inputs" else found))
    proof = CompleteProof("ibp", nothing, **{way: found})
    assert bool(replayed(true, proof).all())
    assert not bool(replayed(false, proof).all())
    assert isinstance(searched(false), Witness)  # executed and measured by the question


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Features((0.5,)), "no whole number"),
        (lambda: Features((1,), groups="0:3,2:4"), "overlap: number 2"),
        (lambda: Features((1,), groups="0:0"), "one feature or more"),
        (lambda: Features((1,), groups="0:99999999999999"), "such as 0:3,5,7"),
        (lambda: Features((1,), groups=[list(range(200_000)), [199_999]]), "overlap: number 199999"),
        (lambda: Features((1,), groups="a"), "groups of features, such as"),
        (lambda: Features((1,)).check_shape((4,)), "there is none: declare one"),
        (lambda: Features((5,), input_box=(0, 1)).check_shape((4,)), "more than the 4 positions"),
        (lambda: Features((1,), groups="3:5", input_box=(0, 1)).check_shape((4,)), "feature 4"),
        (lambda: Categories((1,), groups="0,1:3"), "two categories or more"),
        (lambda: Categories((1,), groups="0:3", input_box=(0.0, 0.5)), "does not hold both"),
        (lambda: Categories((1,), groups="0:2").check_inputs(np.array([[0.5, 0.5]])), "is no category"),
        (lambda: THREATS["feature"], "did you mean 'features'"),
        (lambda: Patch((0.5,)), "no whole number"),
        (lambda: Patch((1,), input_box=(0, 1)).check_shape((28, 28)), r"images \(channels, height, width\)"),
        (lambda: Patch((1,)).check_shape((1, 4, 4)), "there is none: declare one"),
        (lambda: Patch((2, 5), input_box=(0, 1)).check_shape((3, 8, 4)), "side 5 is larger than the image of 8 x 4"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(make, said):
    with pytest.raises(BadInput, match=said) as problem:
        make()
    assert "\n" not in str(problem.value)


def test_changes_elsewhere_or_to_no_category_are_out_of_reach():
    threat, x = Categories((1, 2), groups="0:2,2:4"), np.array([1.0, 0, 0, 1, 0.3])
    assert threat.distance(x, np.array([0.0, 1, 0, 1, 0.3])) == 1
    assert threat.distance(x, np.array([1.0, 0, 0, 1, 0.4])) == np.inf
    assert threat.distance(x, np.array([0.5, 0.5, 0, 1, 0.3])) == np.inf
    assert Features((1,), groups="0:2", input_box=(0, 1)).distance(x, x + np.eye(5)[4]) == np.inf
    assert threat.distance(x, np.full(5, np.nan)) == np.inf


@pytest.mark.parametrize("groups", ["0:99999999999", [["0:9"]], [0, 1], {"0": [1]}, [[0.5]]])
def test_records_hold_groups_as_lists_of_numbers(groups):
    fields = {"threat": "features", "radii": [1.0], "input_box": [0.0, 1.0], "units": "", "groups": groups}
    with pytest.raises((TypeError, BadInput)):
        threat_from(fields)
