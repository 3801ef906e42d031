"""IBP, CROWN-IBP and CROWN against each other and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from certify.bounds.crown import tighten
from certify.bounds.ibp import interval_bounds, propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region, ball
from certify.bounds.tensors import Interval
from certify.core.norms import DUAL
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier


def test_crown_lies_inside_ibp_at_every_layer_and_row(conv, points):
    x = points("inside", 6, 2, 6, 6).double()
    graph = import_module(conv, x[:1].float()).to(torch.float64)
    region = Region(Interval(x - 0.3, x + 0.3))
    loose, tight = (propagate(graph, region, claim="exact", tighten=t) for t in (None, tighten))
    for name, box in tight.boxes.items():
        assert (box.lower >= loose.boxes[name].lower - 1e-14).all()
        assert (box.upper <= loose.boxes[name].upper + 1e-14).all()
    C = points("rows", 6, 5, 3).double()
    ibp, crown_ibp, crown = (METHODS[name](graph, region, C).lower for name in ("ibp", "crown-ibp", "crown"))
    assert (crown_ibp >= ibp).all()
    assert (crown >= ibp).all()
    assert (crown > crown_ibp).float().mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_bounded_directly(mlp, points, method):
    x = points("direct", 4, 4).double()
    C = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]).double().expand(4, 2, 3)
    lo, hi = output_bounds(mlp, x - 0.2, x + 0.2, method, C)
    logits_lo, logits_hi = output_bounds(mlp, x - 0.2, x + 0.2, method)
    assert (lo[:, 0] > logits_lo[:, 0] - logits_hi[:, 1]).all()
    assert (hi[:, 0] < logits_hi[:, 0] - logits_lo[:, 1]).all()


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("method", METHODS)
def test_linear_networks_are_exact_by_the_dual_norm(points, method, norm):
    module = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)).requires_grad_(False)
    module[0].weight.copy_(points("w1", 5, 6))
    module[1].weight.copy_(points("w2", 3, 5))
    x, C = points("x", 3, 6).double(), points("C", 3, 4, 3).double()
    graph = import_module(module, x[:1].float()).to(torch.float64)
    radius = torch.tensor([0.0, 0.1, 2.0]).double()
    lower = METHODS[method](graph, ball(x, radius, norm, None), C).lower
    weight = C @ module[1].weight.double() @ module[0].weight.double()
    order = {"l1": 1, "l2": 2, "linf": math.inf}[DUAL[norm]]
    exact = (C @ graph.forward(x).unsqueeze(2)).squeeze(2) - radius[:, None] * weight.norm(p=order, dim=2)
    assert torch.allclose(lower, exact, rtol=1e-12, atol=1e-12)
    assert (lower <= exact + 1e-12).all()


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("method", METHODS)
def test_balls_cut_by_the_input_box_are_enclosed(mlp, points, norm, method):
    x = points("cut", 8, 4).sigmoid().double()
    graph = import_module(mlp, x[:1].float()).to(torch.float64)
    C = torch.eye(3).double().expand(8, 3, 3)
    radius = torch.full((8,), 0.4).double()
    lower = METHODS[method](graph, ball(x, radius, norm, (0.0, 1.0)), C).lower
    box_only = METHODS[method](graph, ball(x, radius, "linf", (0.0, 1.0)), C).lower
    assert (lower >= box_only - 1e-12).all()
    assert (lower > box_only + 1e-3).any()
    step = points("steps", 2000, 8, 4).double()
    order = {"l1": 1, "l2": 2}[norm]
    near = (x + 0.4 * step / step.norm(p=order, dim=2, keepdim=True)).clamp(0, 1)
    assert (graph.forward(near.flatten(0, 1)).unflatten(0, (2000, 8)) >= lower).all()


def test_differentiable_and_outward_bounds_differ_by_rounding_only(conv, points):
    x = points("both", 3, 2, 6, 6)
    graph, C = import_module(conv, x), points("C3", 3, 2, 3)
    for rows in (None, C):
        plain, outward = (interval_bounds(graph, Interval(x - 0.1, x + 0.1), rows, outward=o) for o in (False, True))
        assert torch.allclose(plain.lower, outward.lower, rtol=1e-3, atol=1e-3)
        assert (outward.lower < plain.lower).all()
        assert (outward.upper > plain.upper).all()


def test_bounds_do_not_depend_on_the_batch(conv, points):
    x = points("batch", 9, 2, 6, 6).double()
    lo, hi = output_bounds(conv, x - 0.2, x + 0.2)
    one_lo, one_hi = output_bounds(conv, x[4:5] - 0.2, x[4:5] + 0.2)
    assert torch.allclose(lo[4:5], one_lo, rtol=1e-12, atol=1e-12)
    assert torch.allclose(hi[4:5], one_hi, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bounds_do_not_depend_on_the_size_of_chunks(conv, points, monkeypatch, norm):
    x = points("chunks", 5, 2, 6, 6).double()
    graph = import_module(conv, x[:1].float()).to(torch.float64)
    region, C = ball(x, torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0]).double(), norm, None), points("C5", 5, 2, 3).double()
    whole = METHODS["crown"](graph, region, C)
    monkeypatch.setattr("certify.bounds.crown.CHUNK", 1000)
    monkeypatch.setattr("certify.bounds.ibp.CHUNK", 100)  # less than the rows of one sample
    monkeypatch.setattr("certify.bounds.layers.MATRICES", 0)
    monkeypatch.setattr("certify.bounds.patches.MATRIX", 500)
    monkeypatch.setattr("certify.bounds.crown.SHARED", 1)
    monkeypatch.setattr("certify.bounds.linear_prefix.NUMBERS", 500)
    parts = METHODS["crown"](graph, region, C)
    assert torch.allclose(whole.lower, parts.lower, rtol=1e-12, atol=1e-12)


ONE = torch.ones(2, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((ONE, ONE, "alpha-crowm"), "unknown bound method 'alpha-crowm'.*known: .*crown-ibp"),
        ((ONE, -ONE), "lower is above upper"),
        ((ONE * torch.nan, ONE), "NaN"),
        ((ONE, ONE[:1]), r"shape \(2, 4\) and upper \(1, 4\)"),
        ((ONE.long(), ONE), "float tensor"),
        ((ONE.half(), ONE), r"lower is torch.float16; .*call lower.float\(\)"),
        ((ONE, ONE.bfloat16()), r"upper is torch.bfloat16; .*call upper.float\(\)"),
        ((ONE, ONE, "ibp", torch.ones(2, 1, 3) * 1j), "C is torch.complex64; give real rows"),
        ((ONE.numpy(), ONE), "lower must be a float tensor .*got ndarray"),
        ((ONE, ONE, "ibp", [[1.0, 0.0, 0.0]]), r"C must be a tensor \(2, rows, 3\), got list"),
        ((ONE, ONE, "ibp", torch.eye(3)), r"give \(2, rows, 3\)"),
        ((ONE, ONE, "ibp", torch.full((2, 1, 3), torch.inf)), "C contains NaN or infinity"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(mlp, arguments, words):
    with pytest.raises(BadInput, match=words) as caught:
        output_bounds(mlp, *arguments)
    assert "\n" not in str(caught.value)


def test_half_precision_is_named():
    with pytest.raises(ModelError, match=r"weights are torch\.float16; .*model\.float\(\)"):
        output_bounds(torch.nn.Linear(4, 3).half(), ONE, ONE)


def test_a_function_has_no_inside():
    with pytest.raises(ModelError, match="use smoothing"):
        output_bounds(Classifier(lambda x: x, num_classes=4), ONE, ONE)
