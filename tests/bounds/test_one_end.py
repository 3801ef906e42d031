"""Entries of which one end is bounded first: what is said about the other end holds, and bounds stay what they were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from certify.bounds import crown as crown_module
from certify.bounds.crown import crown, tighten
from certify.bounds.ibp import ibp, propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.layers import Layers
from certify.bounds.region import Region, ball, region_of
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval, flat
from certify.core.threats.features import Features
from certify.data.dataset import seeded_generator

from .conftest import filled

WIDE = filled(
    nn.Sequential(
        nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 4)
    ),
    "one end",
)
POOLED = filled(
    nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 12),
        nn.LeakyReLU(),
        nn.Linear(12, 3),
    ),
    "one end of pools",
)
CURVED = filled(
    nn.Sequential(
        nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)
    ),
    "one end of curves",
)


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """Networks of tests are small enough for both ends at once."""
    monkeypatch.setattr(crown_module, "LARGE", 0)


def around(net, eps, kind="box", count=3):
    x = torch.as_tensor(
        seeded_generator("one end", kind).uniform(size=(count, *((2, 4, 4) if net is POOLED else (6,))))
    )
    x = x.float().double()
    if kind == "features":
        return x, region_of(Features((1,), input_box=(0.0, 1.0)), x, torch.ones(count, dtype=torch.float64))
    if kind == "box":
        return x, Region(Interval(x - eps, x + eps))
    return x, ball(x, torch.full((count,), eps, dtype=torch.float64), kind, (0.0, 1.0))


def points_of(region, x, kind, eps):
    """Points of each region, (B, count, ...): corners and middles of its box, moved into its ball."""
    generator = seeded_generator("points of", kind)
    shares = torch.as_tensor(
        np.concatenate([generator.integers(0, 2, (300, x[0].numel())), generator.uniform(size=(300, x[0].numel()))])
    )
    box = region.box
    low, high = flat(box.lower, 1).unsqueeze(1), flat(box.upper, 1).unsqueeze(1)
    p = low + (high - low) * shares
    center = flat(x, 1).unsqueeze(1)
    if kind == "l2":
        away = p - center
        p = center + away * (eps / away.norm(dim=2, keepdim=True)).clamp(max=1)
    if kind == "features":  # one feature each
        kept = torch.as_tensor(generator.integers(0, x[0].numel(), 600))
        mask = nn.functional.one_hot(kept, x[0].numel()).bool()
        p = torch.where(mask, p, center)
    return p.reshape(len(x), 600, *x.shape[1:])


CASES = [
    (WIDE, "box", 0.05),
    (WIDE, "box", 0.3),
    (WIDE, "l2", 0.3),
    (WIDE, "features", 1.0),
    (POOLED, "box", 0.1),
    (CURVED, "box", 0.2),
]


def outside(net, kind, eps, mixed):
    """How far values of any result at points of the regions lie outside the box that was found for it, at most."""
    x, region = around(net, eps, kind)
    graph = import_module(net, x[:1].float())
    graph = graph.mixed() if mixed else graph.to(torch.float64)
    layers, worst = propagate(graph, region, claim="exact", tighten=tighten), 0.0
    points = points_of(region, x, kind, eps)
    for i in range(len(x)):
        values = {graph.input: points[i]}
        for node in graph.nodes:
            values[node.name] = node.operator.forward(*(values[name] for name in node.inputs))
            box = layers.boxes[node.name]
            worst = max(
                worst, float((box.lower[i] - values[node.name]).max()), float((values[node.name] - box.upper[i]).max())
            )
    return worst


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("net", "kind", "eps"), CASES)
def test_boxes_hold_every_point(net, kind, eps, mixed):
    assert outside(net, kind, eps, mixed) < 1e-12


@pytest.mark.parametrize("mixed", [False, True])
def test_without_the_gap_they_would_not(mixed, monkeypatch):
    monkeypatch.setattr(Layers, "gap", lambda self, node: torch.zeros_like(self.boxes[node.name].lower))
    assert outside(WIDE, "box", 0.05, mixed) > 0.01


def test_gaps_are_as_large_as_exact_ones():
    """In rational arithmetic, over planes in float64; also where planes nearly meet."""
    graph = import_module(CURVED, torch.zeros(1, 6)).to(torch.float64)
    for eps in (1e-9, 1e-3, 1.0):
        _, region = around(CURVED, eps)
        layers = propagate(graph, region, claim="exact", tighten=tighten)
        for node in graph.nodes:
            if isinstance(node.operator, Affine):
                continue
            planes, [box] = layers.relaxation(node, node.operator), layers.inputs(node)
            rows = (
                planes.lower_slopes[0],
                planes.lower_offset,
                planes.upper_slopes[0],
                planes.upper_offset,
                box.lower,
                box.upper,
            )
            rows = [torch.zeros_like(box.lower) if row is None else row for row in rows]
            for *line, gap in zip(*(row.flatten().tolist() for row in (*rows, layers.gap(node))), strict=True):
                s, o, t, p, low, high = map(Fraction, line)
                assert max((t - s) * low, (t - s) * high) + p - o <= Fraction(gap) < float("inf")


@pytest.mark.parametrize(("net", "eps"), [(WIDE, 0.05), (WIDE, 0.3), (POOLED, 0.1), (CURVED, 0.2)])
def test_rows_are_bounded_as_well_as_with_both_ends_of_every_entry(net, eps):
    _, region = around(net, eps)
    graph = import_module(net, region.box.lower[:1].float()).to(torch.float64)
    C = torch.eye(graph.output.shape[0], dtype=torch.float64).expand(3, -1, -1)
    C = torch.cat([C, -C], 1)
    quick, patient = (crown(one, region, C).lower for one in (graph, replace(graph, thorough=True)))
    lost = (patient - quick) / -(patient[:, : len(C[0]) // 2] + patient[:, len(C[0]) // 2 :]).repeat(1, 2)
    assert lost.max() < 0.03
    assert lost.mean() < 1e-3
    assert not torch.equal(quick, patient)


def test_an_entry_with_a_clear_sign_is_bounded_once(monkeypatch):
    asked, real = [], crown_module._signed

    def watched(layers, name, wanted, signs):
        asked.append(int(wanted.sum()))
        return real(layers, name, wanted, signs)

    monkeypatch.setattr(crown_module, "_signed", watched)
    _, region = around(WIDE, 0.05)
    graph = import_module(WIDE, torch.zeros(1, 6)).to(torch.float64)
    propagate(graph, region, claim="exact", tighten=tighten)
    first, second = sum(asked[::2]), sum(asked[1::2])
    assert first > 2 * second > 0


def test_entries_that_no_sign_makes_linear_are_bounded_at_both_ends_at_once(monkeypatch):
    signed = []
    real = crown_module._signed
    monkeypatch.setattr(crown_module, "_signed", lambda *a: (signed.append(int(a[2].sum())), real(*a))[1])
    net = filled(
        nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 3)), "curves only"
    )
    _, region = around(net, 0.1)
    propagate(import_module(net, torch.zeros(1, 6)).to(torch.float64), region, claim="exact", tighten=tighten)
    assert sum(signed) == 0


def test_a_function_of_one_result_is_not_bounded_itself(monkeypatch):
    names, real = [], crown_module.entry_rows
    monkeypatch.setattr(
        crown_module,
        "entry_rows",
        lambda layers, name, wanted, **how: (names.append(name), real(layers, name, wanted, **how))[1],
    )
    _, region = around(POOLED, 0.1)
    graph = import_module(POOLED, region.box.lower[:1].float()).to(torch.float64)
    propagate(graph, region, claim="exact", tighten=tighten)
    kinds = {graph.producers[name].operator.kind for name in names}
    assert "conv" in kinds, kinds
    assert not kinds & {"relu", "maximum"}, kinds


def test_looking_ahead_forgets_where_functions_might_be_undefined():
    """By interval arithmetic the logarithm might be asked for less than 0, by a backward pass it is not."""

    class Net(nn.Module):
        def forward(self, x):
            doubled = torch.relu(x) + 0.0
            h = torch.tanh(doubled - 0.5 * torch.relu(x).flip(1).flip(1) + 0.05)
            return torch.exp(torch.log(h)) + x

    x = torch.full((1, 4), 0.5)
    graph = import_module(Net().eval(), x).to(torch.float64)
    region = Region(Interval(x.double() - 0.4, x.double() + 0.8))
    C = torch.eye(4, dtype=torch.float64).unsqueeze(0)
    assert crown(graph, region, C).lower.isfinite().all()
    assert not ibp(graph, region, C).lower.isfinite().any()
