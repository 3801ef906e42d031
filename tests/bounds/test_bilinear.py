"""Products and maxima of results: planes at the corners, rounding, and matrix products composed of them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.bounds.output import output_bounds
from certify.bounds.rules.maximum import Maximum
from certify.bounds.rules.multiply import Multiply
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator

OPERATORS = [(Multiply(), 2), (Maximum(), 2), (Maximum(), 4), (Maximum(-1), 3)]


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def boxes(count, *key, size=200, dtype=torch.float64):
    """Boxes of many scales, some of them fixed numbers, some inputs alike."""
    generator = seeded_generator("boxes", count, *key)
    scale = 10.0 ** generator.integers(-3, 4, size=(1, count, 1, size))
    ends = torch.as_tensor(generator.normal(size=(2, count, 1, size)) * scale).to(dtype)
    ends[1, 0, :, 40:60] = ends[0, 0, :, 40:60]
    ends[:, 1, :, 60:80] = ends[:, 0, :, 60:80]
    ends[:, :, :, 80:90] = 0.0
    return [Interval(one.amin(0), one.amax(0)) for one in ends.unbind(1)]


def choices(operator, ends, key):
    """No choice, the start of a search, all corners and random numbers."""
    generator = seeded_generator("choices", key)
    like = ends[0].lower
    drawn = [torch.as_tensor(generator.uniform(size=(2, *like.shape))).to(like.dtype) for _ in range(4)]
    fixed = [torch.tensor(pair).to(like).reshape(2, 1, 1).expand(2, *like.shape) for pair in ((0, 1), (1, 0))]
    return [None, operator.start(*ends), *fixed, *drawn]


def at(plane, offset, x):
    """The exact value of a plane at exact points, entry by entry."""
    terms = zip(*(slope.flatten().tolist() for slope in plane), strict=True)
    shifts = [0.0] * plane[0].numel() if offset is None else offset.flatten().tolist()
    return [
        sum(Fraction(s) * v for s, v in zip(slopes, one, strict=True)) + Fraction(shift)
        for slopes, one, shift in zip(terms, x, shifts, strict=True)
    ]


def exactly(operator, values):
    if isinstance(operator, Multiply):
        return values[0] * values[1]
    return max(values) if operator.sign > 0 else min(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("operator", "count"), OPERATORS)
def test_planes_hold_at_every_corner_in_exact_arithmetic(operator, count, dtype):
    # A product is linear in each input, a maximum convex: both differ most from a plane at corners.
    ends = boxes(count, "exact", size=120, dtype=dtype)
    lines = [operator.relax(*ends, shares=shares) for shares in choices(operator, ends, count)]
    box = operator.interval(*ends, outward=True)
    least, largest = (end.flatten().tolist() for end in (box.lower, box.upper))
    for corner in itertools.product((0, 1), repeat=count):
        picked = [(end.upper if high else end.lower).flatten().tolist() for high, end in zip(corner, ends, strict=True)]
        x = [tuple(Fraction(v) for v in values) for values in zip(*picked, strict=True)]
        y = [exactly(operator, values) for values in x]
        assert all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(least, y, largest, strict=True))
        for planes in lines:
            assert all(a <= v for a, v in zip(at(planes.lower_slopes, planes.lower_offset, x), y, strict=True))
            assert all(a >= v for a, v in zip(at(planes.upper_slopes, planes.upper_offset, x), y, strict=True))


@pytest.mark.parametrize(("operator", "count"), OPERATORS)
def test_planes_touch_and_are_exact_where_nothing_is_bent(operator, count):
    ends = boxes(count, "touch")
    corners = [
        torch.stack([end.upper if high else end.lower for high, end in zip(corner, ends, strict=True)])
        for corner in itertools.product((0, 1), repeat=count)
    ]
    scale = 1e-12 * torch.stack([end.magnitude() for end in ends]).amax(0).clamp(min=1) ** 2
    bent = operator.bent(*ends)
    assert 0.3 < bent.double().mean() < 0.98
    for shares in choices(operator, ends, count):
        planes = operator.relax(*ends, shares=shares)
        for slopes, offset, sign in (
            (planes.lower_slopes, planes.lower_offset, 1),
            (planes.upper_slopes, planes.upper_offset, -1),
        ):
            values = [
                sum(s * v for s, v in zip(slopes, x, strict=True)) + (0 if offset is None else offset) for x in corners
            ]
            gaps = torch.stack([sign * (operator.forward(*x) - v) for x, v in zip(corners, values, strict=True)])
            assert (gaps.amin(0) <= scale).all() or (isinstance(operator, Maximum) and sign == operator.sign)
            assert (gaps.amax(0) <= scale)[~bent].all()


def test_shares_are_followed_by_gradients():
    for operator, count in OPERATORS:
        ends = boxes(count, "gradient")
        shares = operator.start(*ends).clone().requires_grad_()
        planes = operator.relax(*ends, shares=shares)
        parts = [*planes.lower_slopes, *planes.upper_slopes, planes.lower_offset, planes.upper_offset]
        sum((i * part).sum() for i, part in enumerate(parts) if part is not None).backward()
        assert shares.grad.isfinite().all()
        assert (shares.grad != 0).flatten(1).any(1).all()


@pytest.mark.parametrize(("operator", "count"), OPERATORS)
def test_boxes_without_ends_give_no_planes_and_no_nan(operator, count):
    finite, inf = torch.tensor([[-1.0, 2.0, 0.0]]), torch.full((1, 3), torch.inf)
    for lower, upper in ((-inf, inf), (finite, inf), (-inf, finite), (finite * 1e38, finite.abs() * 3e38)):
        ends = [Interval(lower, upper), *[Interval(finite - 1, finite + 1)] * (count - 1)]
        planes = operator.relax(*ends)
        box = operator.interval(*ends, outward=True)
        for part in (*planes.lower_slopes, *planes.upper_slopes, planes.lower_offset, planes.upper_offset):
            assert part is None or not part.isnan().any()
        assert not (box.lower.isnan() | box.upper.isnan()).any()


def test_a_maximum_of_all_but_equal_inputs_is_one_of_them():
    one = Interval(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 2.0]]))
    apart = Interval(one.lower - 5, one.upper - 5)
    repeated = torch.tensor([[[False, False]], [[True, True]], [[False, False]]]).squeeze(1)
    planes = Maximum(repeated=repeated).relax(one, one, apart)
    assert [slope.tolist() for slope in planes.upper_slopes] == [[[1.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]]
    assert torch.equal(planes.upper_offset, torch.zeros(1, 2))


PRODUCTS = {
    "matmul": lambda x: x @ x.mT,
    "bmm": lambda x: torch.bmm(x, (x + 1).mT),
    "broadcast": lambda x: x.unsqueeze(1) @ torch.stack([x, -x], 1).mT,
    "einsum": lambda x: torch.einsum("bik,bjk->bij", x, 1 - x),
    "outer": lambda x: torch.einsum("bik,bjl->bijkl", x, x),
    "square": lambda x: x * x,
    "row": lambda x: x * x[:, :1],
    "quotient": lambda x: x / (x[:, :1] + 3),
    "inverse": lambda x: 2.0 / (x + 3),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(x, 2 * x, x - 1),
    "causal": lambda x: nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True),
    "masked": lambda x: nn.functional.scaled_dot_product_attention(
        x, x, x, attn_mask=torch.tensor([[True, False, True], [True, True, False], [False, False, True]])
    ),
    "extremes": lambda x: torch.maximum(x, x.flip(1)) - x.amin((1, 2), keepdim=True) + x.max(2, keepdim=True).values,
    "limited": lambda x: torch.minimum(torch.maximum(x, torch.tensor([0.1, 0.2])), torch.tensor(0.5)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_results_enclose_what_they_compute(name):
    module = Applied(PRODUCTS[name])
    generator = seeded_generator("products", name)
    x = torch.as_tensor(generator.uniform(-1, 1, size=(2, 3, 2)))
    radius = 0.1
    step = torch.as_tensor(generator.uniform(-1, 1, size=(1000, 2, 3, 2)))
    near = x + radius * torch.cat([step, step.sign()])
    y = module(near.flatten(0, 1)).reshape(2000, 2, -1)
    widths = {}
    for method in ("ibp", "crown"):
        lo, hi = output_bounds(module, x - radius, x + radius, method)
        assert ((lo <= y) & (y <= hi)).all()
        widths[method] = (hi - lo).mean()
    seen = (y.amax(0) - y.amin(0)).mean()
    assert widths["crown"] <= widths["ibp"]
    assert widths["crown"] < 4 * seen
    if name == "square":
        assert torch.allclose(widths["ibp"], (2 * 2 * radius * x.abs()).mean(), atol=0.02)


def test_matrices_of_different_samples_are_refused():
    with pytest.raises(UnsupportedOperator, match="mixes the samples of a batch"):
        output_bounds(Applied(lambda x: x @ torch.relu(x)), torch.zeros(2, 2), torch.ones(2, 2))
