"""Boxes cut out of a ball's box: none that meets the ball is called empty, and bounds over them hold in it."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from certify.bounds.ball import Ball
from certify.bounds.region import Region, ball
from certify.bounds.tensors import Interval
from certify.core.norms import ORDER
from certify.data.generators import keyed_generator


@pytest.mark.parametrize("scale", [None, (1.0, 0.5, 0.0, 2.0)])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_no_box_that_meets_the_ball_is_empty_and_bounds_hold(norm, scale):
    generator, boxes, points = keyed_generator(f"part {norm} {scale}"), 400, 500
    x = torch.rand(1, 4, generator=generator, dtype=torch.float64).expand(boxes, 4)
    weight = torch.ones(4, dtype=torch.float64) if scale is None else torch.tensor(scale, dtype=torch.float64)
    whole = ball(x, torch.full((boxes,), 0.3, dtype=torch.float64), norm, (0.0, 1.0), weight)
    ends = torch.rand(2, boxes, 4, generator=generator, dtype=torch.float64)
    ends[1] = ends[0] + 0.5 * ends[1] * (1 - ends[0])
    width = whole.box.upper - whole.box.lower
    part = Interval(whole.box.lower + ends[0] * width, whole.box.lower + ends[1] * width)
    region, empty = Region(part, whole.constraint).part()
    A = torch.randn(boxes, 3, 4, generator=generator, dtype=torch.float64)
    value, error = region.least(A, 0)
    inside = torch.rand(boxes, points, 4, generator=generator, dtype=torch.float64)
    inside = part.lower.unsqueeze(1) + inside * (part.upper - part.lower).unsqueeze(1)
    steps = torch.where(weight > 0, (inside - x.unsqueeze(1)) / weight, 0.0)
    met = torch.linalg.vector_norm(steps, ord=ORDER[norm], dim=2) <= 0.3
    assert not bool((met.any(dim=1) & empty).any())
    assert 20 < int(empty.sum()) < boxes - 20
    rows = torch.einsum("brn,bpn->bpr", A, inside).masked_fill(~met.unsqueeze(2), torch.inf).amin(dim=1)
    assert bool((value - error <= rows).all())
    small = Region(Interval(inside[:, 0], inside[:, 0]), whole.constraint).part()[1]
    assert bool((small == ~met[:, 0]).all())


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_squares_that_no_float_holds_make_no_box_empty(size):
    x = torch.zeros(2, 2, dtype=torch.float64)
    whole = ball(
        x, torch.full((2,), size, dtype=torch.float64), "l2", None, torch.full((2,), 1 / size, dtype=torch.float64)
    )
    lower = torch.tensor([[0.3, 0.3], [0.8, 0.8]], dtype=torch.float64)
    region, empty = Region(Interval(lower, lower + 0.1), whole.constraint).part()
    assert empty.tolist() == [False, True]
    value, error = region.least(torch.ones(2, 1, 2, dtype=torch.float64), 0)
    assert bool((value - error <= lower.sum(1, keepdim=True)).all())


def test_lengths_that_no_float_holds_make_no_box_empty():
    x, most = torch.zeros(1, 2, dtype=torch.float64), torch.finfo(torch.float64).max
    round_it = Ball(x, torch.tensor([most], dtype=torch.float64), "l2", torch.full((1, 2), 1e-200, dtype=torch.float64))
    box = Interval(x + 1e200, x + 2e200)
    assert Region(box, round_it).part()[1].tolist() == [False]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_corner_no_farther_than_the_radius_is_never_called_empty(norm):
    generator, count, power = keyed_generator(f"corner {norm}"), 300, {"l1": 1, "l2": 2}[norm]
    x, corner, weight = torch.rand(3, count, 6, generator=generator, dtype=torch.float64)
    corner, weight = x + corner, weight + 0.5
    steps = [
        [(Fraction(c) - Fraction(a)) / Fraction(w) for a, c, w in zip(*row, strict=True)]
        for row in zip(x.tolist(), corner.tolist(), weight.tolist(), strict=True)
    ]
    radii = [_least(sum(step**power for step in row), power) for row in steps]
    around = Ball(x, torch.tensor(radii, dtype=torch.float64), norm, weight)
    assert not bool(Region(Interval(corner, corner + 1), around).part()[1].any())
    nearer = Ball(x, around.radius * (1 - 1e-13), norm, weight)
    assert bool(Region(Interval(corner, corner + 1), nearer).part()[1].all())


def _least(total: Fraction, power: int) -> float:
    """The least float whose power is not below a total."""
    radius = float(total) ** (1 / power)
    while Fraction(radius) ** power >= total:
        radius = math.nextafter(radius, 0)
    while Fraction(radius) ** power < total:
        radius = math.nextafter(radius, math.inf)
    return radius
