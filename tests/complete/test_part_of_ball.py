"""Boxes cut out of a ball's box: none that meets the ball is called empty, and bounds over them hold in it."""

from __future__ import annotations

import pytest
import torch

from certify.bounds.over_region import over_region
from certify.bounds.region import ORDER, Region, ball
from certify.bounds.tensors import Interval
from certify.complete.inputs.part_of_ball import part_of_ball
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
    region, empty = part_of_ball(Region(part, whole.ball))
    A = torch.randn(boxes, 3, 4, generator=generator, dtype=torch.float64)
    value, error = over_region(A, region, 0)
    inside = torch.rand(boxes, points, 4, generator=generator, dtype=torch.float64)
    inside = part.lower.unsqueeze(1) + inside * (part.upper - part.lower).unsqueeze(1)
    steps = torch.where(weight > 0, (inside - x.unsqueeze(1)) / weight, 0.0)
    met = torch.linalg.vector_norm(steps, ord=ORDER[norm], dim=2) <= 0.3
    assert not bool((met.any(dim=1) & empty).any())
    assert 20 < int(empty.sum()) < boxes - 20
    rows = torch.einsum("brn,bpn->bpr", A, inside).masked_fill(~met.unsqueeze(2), torch.inf).amin(dim=1)
    assert bool((value - error <= rows).all())
    small = part_of_ball(Region(Interval(inside[:, 0], inside[:, 0]), whole.ball))[1]
    assert bool((small == ~met[:, 0]).all())
