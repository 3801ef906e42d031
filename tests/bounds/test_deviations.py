"""Coefficients in float32: what they lose to rounding is subtracted, whatever the order of sums and the magnitudes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import certify.bounds.backward as backward_module
import certify.bounds.linear as linear_module
import certify.bounds.rules.linear as linear_rule
from certify.bounds import crown as crown_module
from certify.bounds import deviations as deviations_module
from certify.bounds.crown import output_rows, tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import ball_bounds, output_bounds
from certify.bounds.region import Region, ball
from certify.bounds.rounding import BLOCK, gamma, product, rounds
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval, flat
from certify.data.dataset import seeded_generator

exact = np.vectorize(lambda value: Fraction(float(value)), otypes=[object])


def numbers(name, *shape):
    return torch.as_tensor(seeded_generator("deviations", name, shape).uniform(-1, 1, shape), dtype=torch.float32)


def at(name, *shape):
    """The input that a case is about."""
    return numbers(("x", name), 1, *shape)


def chain(name, radius=0.1, *, widths, scales=None, active=False):
    """A ReLU network most of whose neurons are open within ``radius`` of ``at(name)``; or only the last ones."""
    layers, x = [], at(name, widths[0])
    spread = torch.full_like(x, radius)
    for place, (n, m) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(n, m).requires_grad_(False)
        linear.weight.copy_(numbers((name, place), m, n) * (1 if scales is None else scales[place]))
        spread = spread @ linear.weight.T.abs()
        kept_on = active and place < len(widths) - 3
        wanted = 2 * spread if kept_on else spread * numbers(("wanted", name, place), 1, m) / 8
        linear.bias.copy_((wanted - x @ linear.weight.T)[0])
        x = linear(x).relu()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def image(name, radius, *, scale):
    """Convolutions with a shortcut around one of them."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(3, 3, 3, 1, 1)
            self.last = nn.Linear(27, 2)
            for place, parameter in enumerate(self.parameters()):
                parameter.requires_grad_(False).copy_(numbers((name, place), *parameter.shape) * scale)

        def forward(self, x):
            x = torch.relu(self.first(x))
            return self.last(torch.relu(self.second(x) + x).flatten(1))

    return Net().eval()


THREE = (30, 40, 20, 2)

CASES = {
    "active": (partial(chain, widths=(120, 90, 12, 2), active=True), (120,), 1e-2),
    "open": (partial(chain, widths=(30, 40, 20, 10, 2)), (30,), 1e-1),
    "wide box": (partial(chain, widths=THREE), (30,), 1e2),
    "narrow box": (partial(chain, widths=THREE), (30,), 1e-4),
    "tiny": (partial(chain, widths=THREE, scales=(1e-20, 1e-15, 1)), (30,), 1e-2),
    "denormal": (partial(chain, widths=THREE, scales=(1e-30, 1e-10, 1e10)), (30,), 1e-1),
    "huge": (partial(chain, widths=THREE, scales=(1e15, 1e13, 1e-20)), (30,), 1e-2),
    "down and up": (partial(chain, widths=THREE, scales=(1e-30, 1e30, 1)), (30,), 1e-2),
    "image": (partial(image, scale=0.7), (1, 6, 6), 3e-1),
    "large image": (partial(image, scale=1e8), (1, 6, 6), 3e-1),
}
"""A network from the case's name and radius, the shape of its inputs, and the radius."""


def boxes_of(case):
    """The layers of a case with coefficients in float32, around two inputs."""
    make, shape, radius = CASES[case]
    x = torch.cat([at(case, *shape), at(case, *shape) + radius / 8])
    graph = import_module(make(case, radius), x).mixed()
    region = Region(Interval((x - radius).double(), (x + radius).double()))
    return propagate(graph, region, claim="exact", tighten=tighten)


def matrix(graph, node):
    """An affine node as one matrix an input; its weights are met by ones, which is exact."""
    shape, size = node.shape, int(np.prod(node.shape))
    parts = node.operator.adjoint(
        torch.eye(size, dtype=torch.float64).reshape(size, *shape), tuple(graph.shapes[name] for name in node.inputs)
    )
    return [exact(flat(part, 1).numpy()) for part in parts]


def exact_bounds(layers, name, sample):
    """The bounds of CROWN for all entries of a result, over the planes in float64, in rational numbers."""
    graph, size = layers.graph, int(np.prod(layers.graph.shapes[name]))
    pending, b = {name: exact(np.concatenate([np.eye(size), -np.eye(size)]))}, exact(np.zeros(2 * size))
    for node in reversed(graph.nodes):
        if (A := pending.pop(node.name, None)) is None:
            continue
        if isinstance(node.operator, Affine):
            parts = [A @ M for M in matrix(graph, node)]
            if node.operator.bias is not None:
                b = b + A @ exact(flat(node.operator.bias.expand(1, *node.shape), 1)[0].numpy())
        else:
            planes = layers.relaxation(node, node.operator)
            low, high = (exact(flat(s[0], 1)[sample].numpy()) for s in (planes.lower_slopes, planes.upper_slopes))
            offset = exact(flat(planes.upper_offset, 1)[sample].numpy())
            positive = np.maximum(A, 0)
            parts, b = [positive * low + (A - positive) * high], b + (A - positive) @ offset
        for before, part in zip(node.inputs, parts, strict=True):
            pending[before] = pending[before] + part if before in pending else part
    A, box = pending[graph.input], layers.region.box
    lower, upper = (exact(flat(end, 1)[sample].numpy()) for end in (box.lower, box.upper))
    positive = np.maximum(A, 0)
    least = b + positive @ lower + (A - positive) @ upper
    return least[:size], -least[size:]


def found_against_exact(case):
    """For every entry that was tightened: how far its bounds lie outside the exact ones, in units of their distance."""
    outside = []
    layers = boxes_of(case)
    assert layers.deviations is not None
    for name in layers.leans:
        if layers.graph.depth[name] < 2:
            continue
        for sample in range(2):
            found = flat(layers.leans[name].lower, 1)[sample], flat(layers.leans[name].upper, 1)[sample]
            for low, high, below, above in zip(*found, *exact_bounds(layers, name, sample), strict=True):
                if low < 0 < high:
                    apart = float(max(above - below, Fraction(1, 10**300)))
                    outside += [float(below - exact(low)) / apart, float(exact(high) - above) / apart]
    assert len(outside) > 10
    return np.array(outside)


@pytest.mark.parametrize("case", CASES)
def test_bounds_enclose_those_of_exact_arithmetic(case):
    outside = found_against_exact(case)
    assert outside.min() >= 0
    assert np.median(outside) < 1 / 32


def test_without_error_terms_they_would_not(monkeypatch):
    for module in (deviations_module, linear_module, backward_module):
        monkeypatch.setattr(module, "gamma", lambda n, dtype: gamma(n, dtype) if dtype == torch.float64 else 0.0)
    monkeypatch.setattr(deviations_module, "_gammas", lambda summands, more: torch.zeros_like(summands))
    monkeypatch.setattr(deviations_module, "unit", lambda dtype: 0.0)
    monkeypatch.setattr(deviations_module, "smallest", lambda dtype: 0.0)
    assert min(found_against_exact(case).min() for case in ("active", "open", "wide box")) < 0


@pytest.mark.parametrize("case", ["active", "open", "tiny", "huge"])
def test_any_order_of_sums_within_blocks_is_paid_for(case, monkeypatch):
    def one_by_one(A, B):
        blocks = []
        for begin in range(0, A.shape[-1], BLOCK):
            total = None
            for k in reversed(range(begin, min(begin + BLOCK, A.shape[-1]))):
                term = A[..., k, None] * B[..., None, k, :]
                total = term if total is None else total + term
            blocks.append(total)
        total = blocks.pop()
        while blocks:
            total = total + blocks.pop(0)
        return total

    monkeypatch.setattr(linear_rule, "product", one_by_one)
    assert found_against_exact(case).min() >= 0


def test_a_product_in_blocks_rounds_as_often_as_it_says():
    A = numbers("A", 3, 1000)
    A[:, ::2] = -A[:, 1::2]  # sums cancel
    B = torch.ones(1000, 2)
    off = np.abs(exact(product(A, B).numpy()) - exact(A.numpy()) @ exact(B.numpy()))
    assert (
        off <= Fraction(gamma(rounds(1000), torch.float32)) * exact(A.abs().sum(1, keepdim=True).double().numpy())
    ).all()
    assert rounds(1000) < 100
    assert torch.equal(product(A, B), product(A, B))


def test_what_float32_is_too_coarse_for_is_bounded_in_float64():
    net = chain("large", widths=(10, 8, 6, 2), scales=(1e30, 1e30, 1e-30))  # coefficients overflow float32
    x = numbers("large", 1, 10)
    narrow, wide = (
        output_bounds(net, *(end.to(t) for end in (x - 0.1, x + 0.1))) for t in (torch.float32, torch.float64)
    )
    for one, other in zip(narrow, wide, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-6)


def test_rows_close_to_zero_are_decided_as_in_float64():
    make, shape, radius = CASES["open"]
    x = at("open", *shape) + radius / 8 * torch.arange(6).unsqueeze(1)
    graph = import_module(make("open", radius), x).mixed()
    region, C = Region(Interval((x - radius).double(), (x + radius).double())), torch.eye(2).double().expand(6, 2, 2)

    def in_float32():
        return output_rows(propagate(graph, region, claim="exact", tighten=tighten), C).lower

    wide = METHODS["crown"](graph.wide, region, C, claim="exact").lower
    assert ((in_float32() < wide) & (in_float32() > wide - wide.abs() / 100)).all()
    # Outputs are moved so that the bound in float64 just exceeds 0, and the other one does not.
    graph.nodes[-1].operator.offset.sub_(wide[3] - 1e-9 * wide[3].abs())
    assert (in_float32()[3] <= 0).all()
    for method in ("crown", "alpha-crown"):
        assert (METHODS[method](graph, region.rows(slice(3, 4)), C[3:4], claim="exact").lower > 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("box", [None, (-0.5, 0.5)])
@pytest.mark.parametrize("scale", [None, "uneven"])
def test_balls_lose_little_and_gain_nothing(norm, box, scale):
    net, x = chain("balls", 0.2, widths=(12, 30, 20, 3)), numbers("balls", 4, 12).clamp(-0.5, 0.5)
    uneven = None if scale is None else numbers("scale", 12).abs().numpy() * (np.arange(12) % 4 > 0)
    bounds = [
        ball_bounds(net, x.to(t), 0.2, norm, scale=uneven, input_box=box, claim=claim)
        for t in (torch.float32, torch.float64)
        for claim in ("exact", "float32")
    ]
    for (low, high), (exact_low, exact_high) in zip(bounds[:2], bounds[2:], strict=True):
        width = exact_high - exact_low
        assert ((low <= exact_low) & (exact_low - low < 0.01 * width)).all()
        assert ((high >= exact_high) & (high - exact_high < 0.01 * width)).all()


def test_a_float64_network_has_no_coefficients_in_float32():
    graph = import_module(chain("double", widths=(3, 4, 2)).double(), torch.zeros(1, 3).double())
    assert graph.mixed().narrow is None
    assert graph.mixed().dtype == torch.float64


@pytest.mark.parametrize("method", ["crown", "alpha-crown"])
def test_smooth_curves_products_and_pools_lose_little_and_gain_nothing(method):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Linear(36, 3)
            for place, parameter in enumerate(self.parameters()):
                parameter.requires_grad_(False).copy_(numbers(("curves", place), *parameter.shape))

        def forward(self, x):
            h = torch.max_pool2d(torch.tanh(self.conv(x)), 2)
            h = torch.softmax(self.last(h.flatten(1)), -1)
            return h * torch.sigmoid(h.flip(1))

    net, x = Net().eval(), numbers("curves", 2, 1, 8, 8)
    net(x)
    (low, high), (exact_low, exact_high) = (
        output_bounds(net, (x - 0.02).to(t), (x + 0.02).to(t), method) for t in (torch.float32, torch.float64)
    )
    spare = 1e-3 * (exact_high - exact_low) if method == "alpha-crown" else 0.0  # its search may end elsewhere
    assert (low <= exact_low + spare).all()
    assert (high >= exact_high - spare).all()
    assert torch.allclose(low.double(), exact_low.double(), rtol=1e-2, atol=1e-4)
    assert torch.allclose(high.double(), exact_high.double(), rtol=1e-2, atol=1e-4)


def test_a_product_that_is_differentiated_is_summed_in_the_same_blocks():
    A, B = numbers("left", 2, 5, 300), numbers("right", 300, 7)
    slopes = []
    for function in (product, torch.matmul):
        left, right = A.clone().requires_grad_(), B.clone().requires_grad_()
        found = function(left, right)
        slopes.append(torch.autograd.grad((found * numbers("weights", 2, 5, 7)).sum(), (left, right)))
        if function is product:
            assert torch.equal(found.detach(), product(A, B))
            assert not torch.equal(found.detach(), A @ B)
    for one, other in zip(*slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e28])
def test_both_ends_of_rows_over_a_box_hold_despite_rounding(scale):
    A, x, reach = (
        numbers("rows", 1, 4, 90),
        numbers("middles", 1, 90) * scale,
        numbers("reach", 1, 90).abs() * scale / 8,
    )
    box = Interval(x - reach, x + reach)
    least, most, error = Region(box).ends(A, terms=2)
    low, high = (exact(end[0].numpy()) for end in (box.lower, box.upper))
    rows = exact(A[0].numpy())
    positive = np.maximum(rows, 0)
    lower, upper = positive @ low + (rows - positive) @ high, positive @ high + (rows - positive) @ low
    for row in range(4):
        off = Fraction(float(error[0, row])) * Fraction(10001, 10000)  # its own sum was rounded
        assert Fraction(float(least[0, row])) - off <= lower[row]
        assert Fraction(float(most[0, row])) + off >= upper[row]


def test_entries_are_bounded_once_where_float32_is_fine_enough(monkeypatch):
    asked, real = [], crown_module._both

    def watched(layers, name, wanted, found):
        asked.append(int(wanted.sum()))
        return real(layers, name, wanted, found)

    monkeypatch.setattr(crown_module, "_both", watched)
    boxes_of("open")
    assert min(asked[::2]) > 0
    assert max(asked[1::2]) == 0  # what is left for float64


def test_numbers_that_float32_does_not_hold_stay_in_float64():
    from certify.bounds.graph import Graph
    from certify.bounds.rules.linear import Linear

    def replaced(graph, weight):
        node = replace(graph.nodes[0], operator=Linear(weight))
        return Graph(graph.input, graph.shape, (node, *graph.nodes[1:]), graph.dtype)

    graph = import_module(chain("numbers", widths=(3, 4, 2)), at("numbers", 3))
    third = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    assert replaced(graph, third).mixed().narrow is None
    assert replaced(graph, third.float().double()).mixed().narrow is not None
    scaled = import_module(nn.Sequential(Scaled(), chain("numbers", widths=(3, 4, 2))), at("numbers", 3))
    assert scaled.mixed().narrow is not None


class Scaled(nn.Module):
    def forward(self, x):
        return x * 0.1  # a number of float64, whose conversion is paid for


class Joined(nn.Module):
    """``relu(last(f(first(x)))) + shift`` where all weights of ``last`` are the same."""

    def __init__(self, f, count, weight, shift):
        super().__init__()
        self.f, self.shift = f, shift
        self.first, self.last = nn.Linear(2, 2, bias=False), nn.Linear(count, 1, bias=False)
        self.first.weight.requires_grad_(False).copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        self.last.weight.requires_grad_(False).fill_(weight)

    def forward(self, x):
        return torch.relu(self.last(self.f(self.first(x)))) + self.shift


def normalized(eps, scale):
    layer = nn.BatchNorm1d(4, eps=eps).eval().requires_grad_(False)
    layer.weight.fill_(scale)
    return Joined(lambda h: layer(torch.cat([h, h], 1)), 4, 1.0, 2.0**-10)


TENTH, TINY = Fraction(float(torch.tensor(0.1))), Fraction(float(torch.tensor(1e-5)))


@pytest.mark.parametrize(
    ("net", "radius", "most"),
    [
        (lambda: Joined(lambda h: torch.cat([h] * 1000, 1), 2000, 0.1, 5000.0), 1.0, 2000 * TENTH + 5000),
        (
            lambda: Joined(lambda h: (torch.cat([h, h], 1).double() / 1e-42).float(), 4, 1e-5, 2.0**88),
            2.0**-40,
            4 * TINY / Fraction(1e-42) / 2**40 + 2**88,
        ),
        (
            lambda: normalized(eps=1e82, scale=1e37),
            2.0**7,
            4 * 2**7 * Fraction(float(torch.tensor(1e37))) / Fraction(10) ** 41 + Fraction(1, 2**10),
        ),
    ],
    ids=["one result joined a thousand times", "divided by a denormal number", "a root that is denormal"],
)
@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown"])
def test_what_rounds_more_than_usual_is_paid_for(net, radius, most, method):
    box = torch.full((1, 2), radius)
    _, upper = output_bounds(net().eval(), -box, box, method)
    # The root of 1e82 plus a variance of 1 is a little more than 1e41.
    assert Fraction(float(upper)) >= most * (1 - Fraction(1, 10**60))


def test_one_result_read_many_times_is_paid_for_in_float64():
    net = Joined(lambda h: torch.cat([h] * 1000, 1), 2000, 0.1, 7000.0).double()
    weight = 1 + 2.0**-44 - 2.0**-49
    net.first.weight.copy_(weight * torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64))
    box = torch.ones(1, 2, dtype=torch.float64)
    _, upper = output_bounds(net.eval(), -box, box)
    exactly = 2 * Fraction(weight) * 1000 * Fraction(float(net.last.weight[0, 0])) + 7000
    assert Fraction(float(upper)) >= exactly


def test_denormal_numbers_are_numbers_whatever_the_process_was_told():
    net = nn.Linear(1, 1).requires_grad_(False)
    net.weight.fill_(2.0**-130)
    net.bias.fill_(1.0)
    lower, upper = torch.zeros(1, 1), torch.full((1, 1), 2.0**127)
    torch.set_flush_denormal(True)
    try:
        _, most = output_bounds(net, lower, upper)
        assert float(torch.tensor(2.0**-1060, dtype=torch.float64) * 1) == 0.0  # it is as it was
    finally:
        torch.set_flush_denormal(False)
    assert float(most) >= 1.125


def test_where_convolutions_may_be_other_than_sums_coefficients_are_in_float64(monkeypatch):
    graph = import_module(image("off", 0.1, scale=0.7), at("off", 1, 6, 6))
    assert graph.mixed().narrow is not None
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert graph.mixed().narrow is None


def test_regions_do_not_end_in_denormal_numbers():
    x, radius = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([2.0**-140], dtype=torch.float64)
    for norm in ("linf", "l2"):
        region = deviations_module._moved(ball(x, radius, norm, None), x)
        ends = [region.box.upper, -region.box.lower]
        ends += [] if region.constraint is None else [region.constraint.radius]
        assert all((end >= torch.finfo(torch.float32).tiny).all() for end in ends)


def test_a_network_that_computes_in_float64_in_between_is_read():
    net = Joined(lambda h: (h.double() / torch.tensor([0.5], dtype=torch.float64)).float(), 2, 1.0, 0.0)
    _, upper = output_bounds(net.eval(), -torch.ones(1, 2), torch.ones(1, 2))
    assert 4 <= float(upper) < 4.0001


def test_a_long_chain_of_moves_is_followed():
    class Flips(nn.Module):
        def forward(self, x):
            x = torch.relu(x)
            for _ in range(1100):
                x = x.flip(1)
            return torch.relu(x)

    graph = import_module(Flips(), torch.zeros(1, 2))
    assert len(graph.moves(graph.nodes[-1].inputs[0])) == 1100
