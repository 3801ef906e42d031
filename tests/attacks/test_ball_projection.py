"""Projection, directions and random points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.attacks.ball import project, random_point, steepest
from certify.core.norms import DUAL, NORMS
from certify.core.threats.lp import ThreatModel

ORD = {"l1": 1, "l2": 2, "linf": np.inf}


@given(
    norm=st.sampled_from(NORMS),
    radius=st.floats(1e-8, 1e3),
    reach=st.floats(1e-9, 1e6),
    size=st.integers(1, 60),
    box=st.sampled_from([None, (0.1, 0.9), (-1.0, 0.3), (1 / 3, 2 / 3)]),
    seed=st.integers(0, 1000),
)
def test_whatever_goes_in_a_float32_point_of_ball_and_box_comes_out(norm, radius, reach, size, box, seed):
    generator = torch.Generator().manual_seed(seed)
    low, high = box or (-50.0, 50.0)
    x = (low + (high - low) * torch.rand(4, size, generator=generator)).clamp(low + 1e-6, high - 1e-6)
    z = x + reach * torch.randn(4, size, generator=generator)
    inside = project(x, z, radius, norm, box)
    assert inside.dtype == torch.float32
    threat = ThreatModel(norm, (radius,), box)
    assert all(threat.contains(a.numpy(), b.double().numpy()) for a, b in zip(x, inside, strict=True))


@pytest.mark.parametrize("norm", NORMS)
def test_projection_loses_next_to_nothing_and_keeps_inner_points(norm):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, 50, generator=generator)
    far = project(x, x + torch.randn(20, 50, generator=generator), 0.25, norm, None)
    lengths = np.linalg.norm((far - x).double().numpy(), ord=ORD[norm], axis=1)
    assert lengths.min() > 0.25 * (1 - 1e-4)
    near = x + 1e-3 * torch.rand(20, 50, generator=generator)
    torch.testing.assert_close(project(x, near, 0.25, norm, None), near)


def test_l1_projection_is_the_nearest_point():
    """Against bisection on the soft threshold."""
    delta = torch.randn(30, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    low, high = np.zeros((30, 1)), np.full((30, 1), 10.0)
    for _ in range(80):
        middle = (low + high) / 2
        too_long = np.maximum(np.abs(delta) - middle, 0).sum(axis=1, keepdims=True) > 1.0
        low, high = np.where(too_long, middle, low), np.where(too_long, high, middle)
    nearest = np.sign(delta) * np.maximum(np.abs(delta) - high, 0)
    ours = project(torch.zeros(30, 12), torch.from_numpy(delta), 1.0, "l1", None)
    np.testing.assert_allclose(ours.numpy(), nearest, atol=1e-6)


def test_in_linf_the_ends_worked_out_once_are_those_of_each_point():
    """Against the same projection written out for every point in float64."""
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(40, 30, generator=generator)
    for radius in (1e-9, 3e-8, 0.01, 2.0):
        z = x.double() + radius * torch.randn(40, 30, generator=generator, dtype=torch.float64)
        delta, centre = z - x.double(), x.double()
        inner = radius * (1 - 1e-9) - 2.0**-24 * (centre.abs() + delta.abs().clamp_max(radius))
        reach = inner.clamp_min(0.0)
        expected = (centre + delta.clamp(-reach, reach)).float().clamp(0.0, 1.0)
        assert torch.equal(project(x, z, radius, "linf", (0.0, 1.0)), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_what_cannot_move_keeps_the_sign_of_zero(norm):
    x = torch.tensor([[-0.0, 0.0, 0.5]])
    still = project(x, torch.tensor([[0.0, -0.0, 0.5]]), 0.1, norm, (0.0, 1.0))
    assert still.signbit().tolist()[0][0]


def test_nan_does_not_become_a_point():
    z = torch.tensor([[torch.nan, 0.0], [0.0, 0.0]])
    for norm in NORMS:
        assert not torch.isfinite(project(torch.zeros(2, 2), z, 1.0, norm, (-1.0, 1.0))[0]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_reaches_the_dual_norm_and_survives_odd_gradients(norm):
    gradient = torch.randn(10, 40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gained = (steepest(gradient, norm) * gradient).sum(dim=1).numpy()
    np.testing.assert_allclose(gained, np.linalg.norm(gradient.numpy(), ord=ORD[DUAL[norm]], axis=1))
    odd = torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [1e-38, 0.0]])
    lengths = np.linalg.norm(steepest(odd, norm).numpy(), ord=ORD[norm], axis=1)
    np.testing.assert_allclose(lengths, [0.0, 1.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_fill_the_unit_ball(norm):
    generator = torch.Generator().manual_seed(5)
    points = torch.stack([random_point(torch.Size([3]), norm, generator) for _ in range(2000)]).numpy()
    lengths = np.linalg.norm(points, ord=ORD[norm], axis=1)
    # Uniform in a three-dimensional ball: P[length <= t] = t^3, so the median is 2^(-1/3).
    assert lengths.max() <= 1 + 1e-12
    assert abs(np.median(lengths) - 2 ** (-1 / 3)) < 0.02
    assert np.abs(points.mean(axis=0)).max() < 0.05
