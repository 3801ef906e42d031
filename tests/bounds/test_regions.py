"""Balls with scales, masks and per-input radii, cut by boxes: what bounds contain, and where they are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from certify.bounds.ball import Ball, split
from certify.bounds.output import ball_bounds, output_bounds
from certify.bounds.patches import Patches
from certify.bounds.region import Region, ball
from certify.core.norms import DUAL, NORMS, ORDER
from certify.errors import BadInput
from certify.models.classifier import Classifier

EPS = torch.tensor([0.0, 0.3, 0.8, 2.5], dtype=torch.float64)
SCALE = torch.tensor([1.0, 0.0, 0.25, 3.0])


def inside(x, eps, norm, scale, box, draws):
    """Points of scaled balls cut by a box, (draws, B, d): directions stretched to the edge, then clipped towards x."""
    steps = draws * draws.abs() ** 3
    length = torch.linalg.vector_norm(steps, ord=ORDER[norm], dim=2, keepdim=True)
    moved = x + eps.reshape(-1, 1) * scale * steps / length
    return moved if box is None else moved.clamp(*box)


@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown"])
def test_bounds_contain_what_points_of_scaled_balls_give(mlp, points, method, norm, box):
    x = points("centres", 4, 4).sigmoid().double().round(decimals=1)
    lo, hi = ball_bounds(mlp, x, EPS, norm, scale=SCALE, input_box=box, method=method)
    draws = inside(x, EPS, norm, SCALE.double(), box, points("draws", 500, 4, 4).double())
    found = mlp.double()(draws)
    mlp.float()
    assert (found >= lo - 1e-12).all()
    assert (found <= hi + 1e-12).all()
    assert torch.allclose(hi[0], lo[0], atol=1e-9)
    assert (hi - lo)[1:].min() > 1e-3


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_linear_networks_are_bounded_exactly_by_the_dual_norm(points, norm, method):
    linear = nn.Linear(4, 3).double().requires_grad_(False)
    linear.weight.copy_(points("W", 3, 4))
    x = points("linear", 4, 4).double()
    reach = EPS[:, None] * torch.linalg.vector_norm(linear.weight * SCALE.double(), ord=ORDER[DUAL[norm]], dim=1)
    lo, hi = ball_bounds(linear, x, EPS, norm, scale=SCALE, method=method)
    assert torch.allclose(lo, linear(x) - reach, rtol=1e-12, atol=1e-12)
    assert torch.allclose(hi, linear(x) + reach, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_first_layers_see_the_scale(points, norm):
    """Through a ReLU that is always on, interval arithmetic is exact if the first layer's dual norms are."""
    first = nn.Linear(4, 6).double().requires_grad_(False)
    first.weight.copy_(points("first", 6, 4))
    first.bias.fill_(100.0)
    x = points("x", 4, 4).double()
    reach = EPS[:, None] * torch.linalg.vector_norm(first.weight * SCALE.double(), ord=ORDER[DUAL[norm]], dim=1)
    lo, hi = ball_bounds(nn.Sequential(first, nn.ReLU()), x, EPS, norm, scale=SCALE, method="ibp")
    assert torch.allclose(lo, first(x) - reach)
    assert torch.allclose(hi, first(x) + reach)


def least(a, x, radius, norm, scale, box):
    """The least ``a z`` over a scaled ball and a box, to about 1e-4, by a projected search over multipliers."""
    low, high = ((box[0] - x) / scale, (box[1] - x) / scale)
    gain = a * scale
    best = -np.inf
    for t in np.concatenate(
        [[0.0], np.geomspace(1e-4, 1e3, 20000)]
    ):  # the dual, a multiplier at a time: all are bounds
        if norm == "l1":
            step = np.where(np.abs(gain) > t, np.where(gain > 0, low, high), 0.0)
            value = gain @ step + t * (np.abs(step).sum() - radius)
        else:
            step = np.clip(-gain / max(t, 1e-300), low, high)
            value = gain @ step + t / 2 * (step @ step - radius**2)
        best = max(best, value)
    return best + a @ x


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_cut_balls_are_bounded_over_what_ball_and_box_share(points, norm):
    linear = nn.Linear(12, 2, bias=False).double().requires_grad_(False)
    linear.weight.copy_(points("cut", 2, 12))
    scale = points("scale", 12).abs().double() + 0.2
    x = points("near", 4, 12).mul(2).sigmoid().double()
    x[:, :5] = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])
    lo = ball_bounds(linear, x, EPS, norm, scale=scale, input_box=(0.0, 1.0))[0]
    for i, row in [(1, 0), (2, 1), (3, 0)]:
        exact = least(linear.weight[row].numpy(), x[i].numpy(), float(EPS[i]), norm, scale.numpy(), (0.0, 1.0))
        assert exact - 2e-3 < float(lo[i, row]) < exact + 1e-3


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_split_loses_to_neither_ball_nor_box(points, norm):
    x, A = points("edge", 6, 30).clamp(0, 1).double(), points("rows", 6, 5, 30).double()
    region = ball(x, torch.linspace(0, 3, 6).double(), norm, (0.0, 1.0), points("w", 30).clamp(min=0).double())
    inner, outer = split(A, region.constraint, region.box)
    assert torch.allclose(inner + outer, A, rtol=1e-15, atol=0)
    both = over(region.constraint, inner) + over_box(region, outer)
    assert (both >= over(region.constraint, A) - 1e-9).all()
    assert (both >= over_box(region, A) - 1e-9).all()
    assert (both > torch.maximum(over(region.constraint, A), over_box(region, A)) + 1e-3).any()


def over(around: Ball, A: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(A * around.scale, ord=ORDER[DUAL[around.norm]], dim=2)
    return (A @ around.center.unsqueeze(2)).squeeze(2) - around.radius.unsqueeze(1) * norms


def over_box(region: Region, A: torch.Tensor) -> torch.Tensor:
    lower, upper = region.box.lower.unsqueeze(1), region.box.upper.unsqueeze(1)
    return torch.where(A > 0, A * lower, A * upper).sum(2)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_windows_and_whole_images_give_the_same_bounds_over_cut_balls(conv, points, norm, monkeypatch):
    x = points("images", 3, 2, 6, 6).clamp(0, 1).double()
    mask = (points("mask", 2, 6, 6) > -0.5).double() * 1.5
    windows = ball_bounds(conv, x, 0.4, norm, scale=mask, input_box=(0.0, 1.0))
    monkeypatch.setattr("certify.bounds.patches.LARGEST", 0.0)
    for ours, dense in zip(windows, ball_bounds(conv, x, 0.4, norm, scale=mask, input_box=(0.0, 1.0)), strict=True):
        assert torch.allclose(ours, dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_what_sticks_out_of_the_image_takes_no_part_in_the_split(points, norm):
    """Padded windows with huge numbers outside, and entries of every distance to the box: as whole images."""
    x = torch.logspace(-4, -0.3, 32).double().reshape(1, 2, 4, 4)
    A = points("windows", 1, 16, 2, 3, 3).double()
    windows = Patches(A, torch.arange(16).unsqueeze(0), (4, 4), (1, 1), (-1, -1), (2, 4, 4))
    filled = windows.holding(torch.where(windows.of(torch.ones_like(x)) > 0, A, 1e9), inside=False)
    for radius in (0.05, 0.6, 2.2, 2.6):  # the last ones leave little of the ball: four refinements are few there
        region = ball(x, torch.tensor([radius]).double(), norm, (0.0, 1.0))
        ours, dense = (region.least(rows, None)[0] for rows in (filled, windows.dense()))
        assert torch.allclose(ours, dense, rtol=1e-12, atol=1e-14)


def test_float32_boxes_hold_the_exact_reach():
    """0.1 x 0.3 and its sums with x all round: the box must contain them, and immutable entries are x bit for bit."""
    x, radius = torch.rand(50, 40, generator=torch.Generator().manual_seed(1)), torch.full((50,), 0.1)
    scale = torch.linspace(0, 0.3, 40, dtype=torch.float64)
    box = ball(x, radius, "linf", None, scale).box
    reach = radius.double()[:, None] * scale
    assert (box.upper.double() >= x.double() + reach).all()
    assert (box.lower.double() <= x.double() - reach).all()
    assert (box.upper.double() - x - reach).max() < 3e-7
    assert torch.equal(box.lower[:, 0], x[:, 0])
    assert torch.equal(box.upper[:, 0], x[:, 0])


def test_boxes_and_linf_balls_agree(mlp, points):
    x = points("agree", 3, 4).double()
    around = ball_bounds(mlp, x, 0.2, scale=SCALE)
    for ours, theirs in zip(
        around, output_bounds(mlp, x - 0.2 * SCALE.double(), x + 0.2 * SCALE.double()), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_classifiers_input_box_cuts_its_balls(mlp):
    x = torch.zeros(1, 4)
    clf = Classifier(mlp, num_classes=3, input_box=(0.0, 1.0))
    for ours, theirs in zip(ball_bounds(clf, x, 0.5), ball_bounds(mlp, x, 0.5, input_box=(0.0, 1.0)), strict=True):
        assert torch.equal(ours, theirs)


X = torch.full((2, 4), 0.5)


@pytest.mark.parametrize(
    ("x", "eps", "arguments", "words"),
    [
        (X, -0.1, {}, "eps is negative"),
        (X, float("nan"), {}, "NaN"),
        (X, torch.tensor([0.1, torch.inf]), {}, "infinite"),
        (X, torch.full((2, 4), 0.1), {}, r"eps has shape \(2, 4\).*give scale"),
        (X, torch.full((3,), 0.1), {}, r"\(2,\) for one at each input"),
        (X, "much", {}, "eps must be a number"),
        (X, 0.1, {"norm": "l3"}, "unknown norm"),
        (X, 0.1, {"method": "crow"}, "unknown bound method"),
        (X, 0.1, {"scale": [1.0, 1.0]}, "has 4 features"),
        (X, 0.1, {"scale": [1.0, -1.0, 0, 0]}, "got -1"),
        (X, 0.1, {"input_box": (0.0, 0.4)}, "outside the declared input box"),
        (X, 0.1, {"input_box": (1.0, 0.0)}, "not an interval"),
        (X * torch.nan, 0.1, {}, "x contains NaN"),
        (X * torch.inf, 0.1, {}, "x contains infinity"),
        (X.long(), 0.1, {}, "float tensor"),
        (X, 0.1, {"C": torch.ones(5, 3)}, r"one matrix for each input; rows for every input are C.expand\(2, -1, -1\)"),
        (X, 0.1, {"C": torch.ones(1, 5, 3)}, r"give \(2, rows, 3\)"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(mlp, x, eps, arguments, words):
    with pytest.raises(BadInput, match=words) as refused:
        ball_bounds(mlp, x, eps, **arguments)
    assert "\n" not in str(refused.value)
