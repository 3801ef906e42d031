"""What every threat has to answer: records, distances, minima and moves, held against enumeration."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from certify.attacks.moves import moves_of
from certify.bounds.region import region_of
from certify.core.norms import NORMS
from certify.core.threats.base import THREATS, threat_from
from certify.core.threats.categories import Categories
from certify.core.threats.features import Features
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput

EXAMPLES = {
    "lp": [ThreatModel(norm, (0.0, 0.1), (0.0, 1.0)) for norm in NORMS],
    "features": [
        Features((0, 1, 2), input_box=(0.0, 1.0)),
        Features((1, 2), groups="0:2,2+4", input_box=(-1.0, 2.0)),
    ],
    "categories": [Categories((0, 1, 2), groups="0:2,2:5"), Categories((1,), groups=[[0, 1, 2], [3, 4]])],
}
EVERY = [threat for name in THREATS for threat in EXAMPLES[name]]
COUNTED = [threat for threat in EVERY if threat.counted]


def inputs(threat, count=3, features=5):
    """Inputs that the threat is about."""
    generator = np.random.default_rng(0)
    x = generator.random((count, features)).astype(np.float32)
    if isinstance(threat, Categories):
        for row, group in itertools.product(range(count), threat.groups):
            x[row, list(group)] = np.eye(len(group), dtype=np.float32)[generator.integers(len(group))]
    return torch.from_numpy(x)


def reached(threat, x, radius):
    """The extreme points that a counted threat reaches from one input (features,), each listed by hand."""
    groups = threat.groups or tuple((feature,) for feature in range(len(x)))
    low, high = threat.input_box or (0.0, 1.0)
    for changed in itertools.combinations(groups, radius):
        if isinstance(threat, Categories):
            choices = [torch.eye(len(group)) for group in changed]
        else:
            choices = [torch.tensor(list(itertools.product((low, high), repeat=len(group)))) for group in changed]
        for values in itertools.product(*choices):
            point = x.clone()
            for group, value in zip(changed, values, strict=True):
                point[list(group)] = value.to(point)
            yield point


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_records_make_the_same_threat_again(threat):
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
    starts = torch.cat([moves.random(x[row][None], radius, generator) for row in range(len(x))])
    for points in (moves.project(x, z, radius), moves.climb(x, x, gradient, 0.1, radius), starts):
        for one, point in zip(x.numpy(), points.numpy(), strict=True):
            assert threat.contains(one, point, radius)


@pytest.mark.parametrize("threat", EVERY, ids=str)
def test_a_step_does_not_lose_what_it_climbs(threat):
    x, gradient = inputs(threat), torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    step = moves_of(threat).climb(x, x, gradient, 0.1, threat.largest)
    assert bool(((gradient * (step - x)).sum(dim=1) >= 0).all())


@pytest.mark.parametrize("threat", COUNTED, ids=str)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_minimum_of_a_linear_form_is_that_of_all_points(threat, radius):
    x = inputs(threat).double()
    A = torch.randn(len(x), 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    region = region_of(threat, x, torch.full((len(x),), float(radius)))
    least, error = region.constraint.least(A, region.box, 0)
    for row in range(len(x)):
        points = torch.stack(list(reached(threat, x[row], radius)))
        exact = (A[row] @ points.T).amin(dim=1)
        assert torch.allclose(least[row], exact, atol=1e-12)
        assert bool((least[row] - error[row] <= exact).all())
        assert bool((error[row] < 1e-11).all())


@pytest.mark.parametrize("threat", COUNTED, ids=str)
def test_parts_of_the_box_are_bounded_and_missed_truly(threat):
    x, generator = inputs(threat, count=1).double(), torch.Generator().manual_seed(3)
    region = region_of(threat, x, torch.tensor([1.0]))
    A = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    points = torch.stack([x[0], *reached(threat, x[0], 1)])
    empty = 0
    for cut in range(200):
        ends = torch.rand(2, 1, 5, generator=generator, dtype=torch.float64).round(decimals=0 if cut % 2 else 2)
        lower = region.box.lower + ends.amin(dim=0) * (region.box.upper - region.box.lower)
        upper = region.box.lower + ends.amax(dim=0) * (region.box.upper - region.box.lower)
        part = type(region.box)(lower, upper)
        inside = points[((lower <= points) & (points <= upper)).all(dim=1)]
        if bool(region.constraint.misses(part)):
            empty += 1
            assert len(inside) == 0
        else:
            least, error = region.constraint.least(A, part, 0)
            assert len(inside) == 0 or bool((least[0] - error[0] <= (A[0] @ inside.T).amin(dim=1)).all())
    assert empty > 0


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
