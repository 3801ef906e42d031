"""Exact Gaussian noise on the 1/255 grid: the thresholds, the draws, the sum that the base model sees, the refusals."""

from __future__ import annotations

import bisect
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

from certify.core.input_box import check_box
from certify.errors import BadInput, DataError
from certify.smoothing.noise.gaussian_grid import NEAREST, GaussianGrid, thresholds

SIGMAS = [0.001, 0.12, 0.25, 0.5, 1.0, 30.0]
LEVELS = torch.arange(256)


def phi(z: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


@pytest.mark.parametrize("sigma", SIGMAS)
def test_thresholds_are_the_rounded_distribution_function(sigma):
    table = thresholds(sigma)
    with mpmath.workdps(60):
        exact = [phi((k + mpmath.mpf(0.5)) / (255 * mpmath.mpf(sigma))) for k in range(-255, 255)]
        errors = [abs(mpmath.mpf(t) / 2**62 - p) for t, p in zip(table.integers, exact, strict=True)]
        assert max(errors) <= mpmath.mpf(2) ** -63 * (1 + mpmath.mpf(10) ** -9)
        # Total variation distance of the 511 probabilities, the two tails lumped with +-255.
        drawn = np.diff([0, *table.integers, 2**62])
        law = [b - a for a, b in zip([mpmath.mpf(0), *exact], [*exact, mpmath.mpf(1)], strict=True)]
        distance = sum(abs(mpmath.mpf(int(a)) / 2**62 - b) for a, b in zip(drawn, law, strict=True)) / 2
        assert distance <= table.error <= 510 * 2.0**-63
    assert list(table.integers) == sorted(table.integers)


def test_what_is_charged_for_the_draws_and_for_float32_inputs():
    noise = GaussianGrid(0.25)
    assert 3072 * thresholds(0.25).error <= noise.total_variation(3072) < 2e-13
    assert noise.total_variation(3072) * 100_000 < 7e-8  # CIFAR at n = 100,000
    assert math.sqrt(3072) * NEAREST < noise.slack(3072, "l2") < 7e-6
    quotients = LEVELS.float() / 255, LEVELS.float() * (1 / 255), (LEVELS.double() * (1 / 255)).float()
    for x in quotients:
        distance = sum((Fraction(float(v)) - Fraction(k, 255)) ** 2 for k, v in enumerate(x))
        assert distance <= Fraction(noise.slack(256, "l2")) ** 2


@pytest.mark.parametrize("sigma", SIGMAS)
def test_two_level_draws_equal_a_search_in_the_whole_table(sigma):
    count = 1001
    draws = GaussianGrid(sigma).sample((7, 11, 13), torch.Generator().manual_seed(1)).ravel()
    generator = torch.Generator().manual_seed(1)
    words = torch.empty(251, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    heads = words.view(torch.int16)[:count].tolist()
    edges = list(thresholds(sigma).integers)
    opened = []
    for index, head in enumerate(heads):
        low = (head + 2**15) << 46
        k, last = bisect.bisect_right(edges, low), bisect.bisect_right(edges, low + 2**46 - 1)
        if k == last:
            assert draws[index] == np.float32(k - 255) / np.float32(255)
        else:
            opened.append((index, low))
    rest = torch.empty(len(opened), dtype=torch.int64).random_(2**46, generator=generator).tolist()
    for (index, low), more in zip(opened, rest, strict=True):
        assert draws[index] == np.float32(bisect.bisect_right(edges, low + more) - 255) / np.float32(255)


def test_a_draw_is_settled_by_its_bits_right_at_the_thresholds(monkeypatch):
    # Feed chosen 62-bit numbers: one below each threshold and the threshold itself must fall on its two sides.
    edges = [t for t in thresholds(0.25).integers if 0 < t < 2**62]
    chosen = [t + offset for t in edges for offset in (-1, 0)]
    heads = np.array([(t >> 46) - 2**15 for t in chosen], dtype=np.int16)
    heads = np.concatenate([heads, np.zeros(-len(heads) % 4, dtype=np.int16)])
    doubtful = {t >> 46 for t in edges if t & (2**46 - 1)}
    rest = [t & (2**46 - 1) for t in chosen if t >> 46 in doubtful] + [0] * len(heads)

    def fed(self, *bounds, generator):
        source = torch.from_numpy(heads.view(np.int64).copy()) if len(bounds) == 2 else torch.tensor(rest)
        return self.copy_(source[: len(self)])

    monkeypatch.setattr(torch.Tensor, "random_", fed)
    draws = GaussianGrid(0.25).sample((len(chosen),), torch.Generator())
    whole = [bisect.bisect_right(thresholds(0.25).integers, t) - 255 for t in chosen]
    assert torch.equal(draws, torch.tensor(whole) / 255)
    assert all(b == a + 1 for a, b in zip(whole[::2], whole[1::2], strict=True))


@pytest.mark.parametrize("x", [LEVELS / 255, LEVELS * torch.tensor(1 / 255), (LEVELS / 255).double().float()])
def test_the_base_model_sees_exactly_the_clipped_grid_point(x):
    steps = torch.arange(-255, 256)
    noisy = x[:, None] + (steps / 255)[None]
    GaussianGrid(0.25).project(noisy)
    exact = (LEVELS[:, None] + steps[None]).clamp(0, 255)
    assert torch.equal(noisy, exact.float() / 255)
    assert (noisy.numpy() == (exact.numpy() / 255).astype(np.float32)).all()  # rounded once, not twice
    GaussianGrid(0.25).project(noisy)
    assert torch.equal(noisy, exact.float() / 255)


def test_half_spaces_have_the_radius_of_the_theorem():
    # h votes for the class where the grid value is at most t: smoothing leaves its boundary at (t + 1/2) / 255.
    noise = GaussianGrid(0.25)
    edges = np.array(thresholds(0.25).integers, dtype=object)
    for k, t in [(100, 101), (100, 140), (0, 60), (37, 250)]:
        q = float(1 - Fraction(int(edges[t - k + 255]), 2**62))
        radius = noise.radius(q, q, "l2")
        true = (t + 0.5 - k) / 255
        assert true * (1 - 1e-9) < radius < true * (1 + 1e-12)


def test_tables_made_while_gradients_are_off_serve_everywhere():
    noise, shape = GaussianGrid(0.3217), (5,)
    with torch.inference_mode():
        inside = noise.sample(shape, torch.Generator().manual_seed(0)).tolist()
    assert noise.sample(shape, torch.Generator().manual_seed(0)).tolist() == inside
    assert noise.sample((0, 3), torch.Generator()).shape == (0, 3)


def test_inputs_off_the_grid_are_refused_by_place_and_value():
    noise = GaussianGrid(0.25)
    x = torch.zeros(3, 1, 2, 2) + 51 / 255
    noise.check_inputs(x, (0.0, 1.0))
    for wrong in (0.5, math.nan, -1 / 255, 256 / 255, 51 / 255 + 1e-6):
        bad = x.clone()
        bad[2, 0, 1, 0] = wrong
        with pytest.raises(DataError, match=r"needs inputs k/255, but input 2 has \S+ at \(0, 1, 0\): give 8-bit"):
            noise.check_inputs(bad, (0.0, 1.0))
    with pytest.raises(DataError, match=r"input 1 has 0.5 at 0: .* noise='gaussian'"):
        noise.check_inputs(torch.tensor([[0.0], [0.5]]), (0.0, 1.0))


@pytest.mark.parametrize(("box", "said"), [(None, "none"), ((-1.0, 1.0), r"\[-1, 1\]"), ((0.0, 255.0), r"\[0, 255\]")])
def test_another_input_box_is_refused(box, said):
    with pytest.raises(BadInput, match=rf"in the box \[0, 1\], not {said}: use noise='gaussian'"):
        GaussianGrid(0.25).check_inputs(torch.zeros(1, 4), check_box(box))
