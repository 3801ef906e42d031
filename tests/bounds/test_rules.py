"""The contract of operator rules, over every member of the registry."""

from __future__ import annotations

import itertools
from dataclasses import astuple

import pytest
import torch

from certify.bounds import alpha_crown
from certify.bounds.graph import Graph, Node
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.rules.base import RULES, Affine, Nonlinear
from certify.bounds.rules.curve import Curve
from certify.bounds.tensors import Interval, Relaxation
from certify.data.dataset import seeded_generator


def example(kind):
    make = getattr(RULES[kind], "example", None)
    assert make is not None, f"rule {kind!r} brings no example"
    return make()


def nodes(kind) -> tuple[Graph, list[Node]]:
    one = example(kind)
    graph = import_module(one.module, one.lower).to(torch.float64)
    return graph, [node for node in graph.nodes if node.operator.kind == kind]


def inside(lower, upper):
    """All corners of a box if there are few, a seeded choice otherwise, and points between."""
    generator, size = seeded_generator("inside"), lower.numel()
    corners = list(itertools.product((0.0, 1.0), repeat=size)) if size <= 8 else generator.integers(0, 2, (256, size))
    shares = torch.cat([torch.tensor(corners), torch.as_tensor(generator.uniform(size=(256, size)))]).double()
    return lower + (upper - lower) * shares.reshape(-1, *lower.shape[1:])


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_brings_an_example_that_uses_it(kind):
    assert nodes(kind)[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", RULES)
def test_bounds_contain_every_point_and_grow_with_the_box(kind, method, monkeypatch):
    monkeypatch.setattr(alpha_crown, "ITERATIONS", 4)
    one = example(kind)
    lower, upper = one.lower.double(), one.upper.double()
    graph = import_module(one.module, one.lower).to(torch.float64)
    y = graph.forward(inside(lower, upper)).flatten(1)
    center, halves = (lower + upper) / 2, [(upper - lower) / 2 * share for share in (0.0, 0.3, 1.0)]
    boxes = torch.cat([center - half for half in halves]), torch.cat([center + half for half in halves])
    found = [end.chunk(len(halves)) for end in output_bounds(one.module, *boxes, method)]
    exact, previous = graph.forward(center).flatten(1), None
    for lo, hi in zip(*found, strict=True):
        assert (lo <= exact).all()
        assert (hi >= exact).all()
        if previous is None:
            assert torch.allclose(lo, hi, rtol=1e-12, atol=1e-5 if kind == "within" else 1e-12)  # it is never a point
        else:
            assert (lo <= previous[0]).all()
            assert (hi >= previous[1]).all()
        previous = lo, hi
    assert (lo <= y).all()
    assert (hi >= y).all()


@pytest.mark.parametrize("kind", [kind for kind in RULES if issubclass(RULES[kind], Affine)])
def test_adjoint_and_absolute_value_agree_with_the_operation(kind):
    graph, found = nodes(kind)
    generator = seeded_generator("adjoint", kind)
    for node in found:
        shapes = tuple(graph.shapes[name] for name in node.inputs)
        x = [torch.as_tensor(generator.normal(size=(5, *shape))) for shape in shapes]
        A = torch.as_tensor(generator.normal(size=(5, *node.shape)))
        zero = node.operator.forward(*(torch.zeros_like(one) for one in x))
        parts = node.operator.adjoint(A, shapes)
        forth = ((node.operator.forward(*x) - zero) * A).flatten(1).sum(1)
        back = sum((a * b).flatten(1).sum(1) for a, b in zip(x, parts, strict=True))
        assert torch.allclose(forth, back, rtol=1e-10, atol=1e-10)
        bias = node.operator.bias
        assert torch.allclose(zero[:1], torch.zeros(()).double() if bias is None else bias.double(), atol=1e-14)
        # |W| e_i = |W e_i| for every unit vector, so the image of |x| is the sum over |columns|.
        units = [torch.eye(one[0].numel()).double().unflatten(1, one.shape[1:]) for one in x]
        for place, unit in enumerate(units):
            still = [unit if i == place else torch.zeros(len(unit), *shapes[i]).double() for i in range(len(x))]
            moved = node.operator.forward(*still) - zero[:1]
            assert torch.allclose(node.operator.absolute(*still), moved.abs(), rtol=1e-10, atol=1e-12)


def sketched(operator, boxes, shares):
    """The planes of the first of so many rows that a search takes means of planes."""
    planes = operator.sketch(*(Interval(box.lower.unsqueeze(1), box.upper.unsqueeze(1)) for box in boxes))
    (below,), low, (above,), high = astuple(planes(shares.unsqueeze(2).expand(-1, -1, 90, -1)))
    return Relaxation((below[:, 0],), low[:, 0], (above[:, 0],), high[:, 0])


@pytest.mark.parametrize("kind", [kind for kind in RULES if issubclass(RULES[kind], Nonlinear)])
def test_planes_enclose_the_function(kind):
    [node] = nodes(kind)[1][:1]
    operator, generator = node.operator, seeded_generator("planes", kind)
    shape = {"resample": (1, 1, 20, 20), "lookup": (1, 200, 2)}.get(kind, (1, 400))  # images, and columns of a table
    ends = torch.as_tensor(generator.normal(size=(2, len(node.inputs), *shape))) * 3
    boxes = [Interval(lower, upper) for lower, upper in zip(ends.amin(0), ends.amax(0), strict=True)]
    free = [torch.as_tensor(generator.uniform(size=(operator.shares, *shape))).round(decimals=1) for _ in range(6)]
    choices = [None, operator.start(*boxes), *free] if operator.shares else [None]
    for shares in choices:
        planes = operator.relax(*boxes, shares=shares)
        for share in torch.as_tensor(generator.uniform(-0.2, 1.2, size=(60, len(boxes), *shape))).clamp(0, 1):
            x = [box.lower + (box.upper - box.lower) * s for box, s in zip(boxes, share, strict=True)]
            x = [one.clamp(box.lower, box.upper) for one, box in zip(x, boxes, strict=True)]
            y = operator.forward(*x)
            below, above = (
                sum((a * b for a, b in zip(slopes, x, strict=True)), 0 if offset is None else offset)
                for slopes, offset in (
                    (planes.lower_slopes, planes.lower_offset),
                    (planes.upper_slopes, planes.upper_offset),
                )
            )
            undefined = y.isnan()
            assert (undefined | (below <= y + 1e-14 * (1 + y.abs()))).all()
            assert (undefined | (above >= y - 1e-14 * (1 + y.abs()))).all()
            if isinstance(operator, Curve) and shares is not None:
                planes = sketched(operator, boxes, shares)
                for sign, (slopes, offset) in zip((1, -1), planes.sides, strict=True):
                    assert (undefined | (sign * (y - slopes[0] * x[0] - offset) >= -1e-12 * (1 + y.abs()))).all()
    planes, straight = operator.relax(*boxes), ~operator.bent(*boxes)
    for below, above in zip(planes.lower_slopes, planes.upper_slopes, strict=True):
        assert torch.equal(below[straight], above[straight])
    if operator.tensors:  # of one sample's shape, here of another
        return
    further = operator.relax(*(Interval(box.lower.unsqueeze(1), box.upper.unsqueeze(1)) for box in boxes))
    for (slopes, offset), (more, other) in zip(operator.relax(*boxes).sides, further.sides, strict=True):
        pairs = [*zip(slopes, more, strict=True), *([] if offset is None else [(offset, other)])]
        assert all(torch.equal(one, two[:, 0]) for one, two in pairs)  # searches give each row an axis of its own


def test_an_interval_refuses_what_is_none():
    one = torch.ones(1, 1)
    for lower, upper, words in ((one, -one, "above its upper"), (one * torch.nan, one, "NaN"), (one, one[0], "fit")):
        with pytest.raises(Exception, match=words):
            Interval(lower, upper)
