"""Every registered noise law keeps its contract; a law without an example here fails.

Radii are derived a second time: the most that any base model with the same class probabilities can lose when the noise
is shifted by the radius, found by the Neyman-Pearson lemma on a fine partition of the line or the plane.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from certify.core.scope import scopes
from certify.errors import BadInput
from certify.smoothing.noise.base import NOISES, Noise
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.noise.laplace import Laplace
from certify.smoothing.noise.uniform import Uniform

GRID_STEPS = (np.arange(-255, 255) + 0.5) / 255

ADDITIVE = [name for name, law in scopes(NOISES).items() if issubclass(law, Noise)]
"""Laws that add noise of one scale; what hides positions has a test of its own, test_ablation.py."""

EXAMPLES = {
    "gaussian": (0.25, stats.norm(0, 0.25).cdf),
    "gaussian-grid": (0.25, stats.norm(0, 0.25).cdf),
    "laplace": (0.25, stats.laplace(0, 0.25 / math.sqrt(2)).cdf),
    "uniform": (0.25, stats.uniform(-0.25 * math.sqrt(3), 0.5 * math.sqrt(3)).cdf),
}
"""A standard deviation for each law, and the distribution function of one feature before any rounding to a grid."""

ON_GRID = {"gaussian-grid"}
"""Laws whose draws are multiples of 1/255, at a known distance from the exact law."""

LENGTH = {"l1": 1, "l2": 2, "linf": np.inf}


def fits(name: str, draws: np.ndarray, cdf: Callable) -> float:
    """p-value of the draws under the law: chi-square where the noise is discrete, Kolmogorov-Smirnov elsewhere."""
    if name not in ON_GRID:
        return stats.kstest(draws, cdf).pvalue
    inner = GRID_STEPS[np.abs(GRID_STEPS) < 0.6]  # bins with at least fifty draws
    probabilities = np.diff(cdf(inner), prepend=0.0, append=1.0)
    probabilities[0], probabilities[-1] = cdf(inner[0]), 1 - cdf(inner[-1])
    counts = np.bincount(np.searchsorted(inner, draws), minlength=len(inner) + 1)
    return stats.chisquare(counts, probabilities * draws.size).pvalue


@pytest.mark.parametrize("name", ADDITIVE)
def test_draws_follow_the_law(name):
    sigma, cdf = EXAMPLES[name]
    noise = NOISES[name](sigma)
    draws = noise.sample((32, 8192), torch.Generator().manual_seed(3))
    assert draws.shape == (32, 8192)
    assert draws.dtype == torch.float32
    values = draws.numpy().ravel().astype(np.float64)
    assert fits(name, values, cdf) > 1e-4
    assert fits(name, values * 1.03, cdf) < 1e-6  # the test would see a scale that is 3 % off
    assert values.std() == pytest.approx(sigma, rel=0.01)
    assert np.abs(np.corrcoef(draws.numpy()) - np.eye(32)).max() < 0.06
    out = torch.empty(32, 8192)
    assert noise.sample(out.shape, torch.Generator().manual_seed(3), out=out) is out
    assert torch.equal(out, draws)
    anywhere = noise.sample_anywhere((8192,), torch.Generator().manual_seed(3))
    assert anywhere.dtype == torch.float32
    assert float(anywhere.std()) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("name", ADDITIVE)
def test_what_a_law_says_about_itself(name):
    noise = NOISES[name](EXAMPLES[name][0])
    assert noise.name == name
    assert noise.citation
    assert noise.norms
    assert len(noise.assumption) > 20
    assert "\n" not in noise.assumption
    exact = name in ON_GRID
    assert (noise.total_variation(3072) > 0) == exact
    assert all((noise.slack(3072, norm) > 0) == exact for norm in noise.norms)
    on_grid = torch.arange(256) / 255
    noise.check_inputs(on_grid[None], (0.0, 1.0))
    shown = on_grid.clone()
    noise.project(shown)
    assert torch.equal(shown, on_grid)
    for wrong in {"l1", "l2", "linf"} - set(noise.norms):
        with pytest.raises(BadInput, match=f"{name} noise has no radius theorem in {wrong}; it certifies l"):
            noise.radius(0.1, 0.1, wrong)


@pytest.mark.parametrize("name", ADDITIVE)
def test_radii_grow_with_certainty_and_vanish_without_it(name):
    noise = NOISES[name](EXAMPLES[name][0])
    for norm in noise.norms:
        radii = [noise.radius(q, q, norm) for q in (0.499999, 0.49, 0.3, 0.1, 1e-3, 1e-9)]
        assert radii == sorted(radii)
        assert radii[0] > 0
        assert radii[-1] <= noise.radius(1e-300, 1e-300, norm) < math.inf
        for q, rival in [(0.5, 0.5), (0.9, 0.9), (1.0, 1.0), (0.6, 0.4), (0.3, 0.7000001), (1.0, 1e-9)]:
            assert noise.radius(q, rival, norm) == 0.0
        # A better bound on the runner-up never shrinks the radius.
        assert noise.radius(0.3, 0.1, norm) > noise.radius(0.3, 0.3, norm)
        # A class without a majority can win.
        assert noise.radius(0.6, 0.2, norm) > 0
        for q, rival in [(math.nan, 0.1), (0.1, math.nan)]:
            with contextlib.suppress(BadInput):
                assert noise.radius(q, rival, norm) == 0.0


@pytest.mark.parametrize("sigma", [0.0, -0.25, math.nan, math.inf, 1e-40, 1e40])
def test_impossible_scales_are_refused(sigma):
    for name in ADDITIVE:
        with pytest.raises(BadInput, match="sigma must be"):
            NOISES[name](sigma)


def test_the_norms_of_a_law_cannot_be_changed():
    with pytest.raises(TypeError):
        Gaussian(0.5, ("linf",))  # type: ignore[call-arg]


# Every law again, from the likelihood ratio alone.


def cells(cdf: Callable, edges: np.ndarray, shift: float) -> np.ndarray:
    """Probability of each cell of the line when the noise is shifted."""
    return np.diff(np.concatenate([[0.0], cdf(edges - shift), [1.0]]))


def least_kept(here: np.ndarray, there: np.ndarray, p: float) -> float:
    """The least probability after a shift of a class that has probability p before it (Neyman and Pearson).

    The class takes the cells with the smallest likelihood ratio there/here until their probability is p; the last cell
    in part.
    """
    ratio = np.divide(there, here, out=np.full_like(there, np.inf), where=here > 0)
    order = np.argsort(ratio)
    filled = np.concatenate([[0.0], np.cumsum(here[order])])
    return float(np.interp(p, filled, np.concatenate([[0.0], np.cumsum(there[order])])))


RIVALS = [(0.45, None), (0.3, None), (0.01, None), (1e-4, None), (0.3, 0.1), (0.6, 0.2), (0.4, 0.02)]
"""Probabilities of missing the top class and of its runner-up; None: everything else is the runner-up."""


def worst_lead(here: np.ndarray, there: np.ndarray, q: float, rival: float | None) -> float:
    """The least that the top class can lead by after the shift."""
    kept = least_kept(here, there, 1 - q)
    return 2 * kept - 1 if rival is None else kept - (1 - least_kept(here, there, 1 - rival))


@pytest.mark.parametrize(("q", "rival"), RIVALS)
@pytest.mark.parametrize("name", ADDITIVE)
def test_the_radius_is_the_worst_case_on_the_line(name, q, rival):
    sigma, cdf = EXAMPLES[name]
    noise = NOISES[name](sigma)
    [norm] = noise.norms
    radius = noise.radius(q, q if rival is None else rival, norm)
    edges = np.linspace(-3.0, 3.0, 40_001)
    here = cells(cdf, edges, 0.0)
    leads = [worst_lead(here, cells(cdf, edges, factor * radius), q, rival) for factor in (0.97, 1.0, 1.03)]
    assert leads[0] > 0
    assert leads[1] > -2e-4 * (1 - q)
    # Nothing larger is true, except that the Laplace bound has some room where the runner-up is known.
    assert leads[2] < 0 or (name == "laplace" and rival is not None)


@pytest.mark.parametrize("name", ADDITIVE)
def test_no_shift_within_the_radius_does_worse_in_the_plane(name):
    # Cells only coarsen what a base model can see, so the bound must hold for them without any tolerance.
    sigma, cdf = EXAMPLES[name]
    noise = NOISES[name](sigma)
    [norm] = noise.norms
    generator = np.random.default_rng(4)
    edges = np.linspace(-0.9, 0.9, 120)
    here = np.multiply.outer(*[cells(cdf, edges, 0.0)] * 2).ravel()
    for q, rival in itertools.islice(itertools.cycle(RIVALS), 60):
        radius = noise.radius(q, q if rival is None else rival, norm)
        direction = generator.normal(size=2)
        shift = radius * direction / np.linalg.norm(direction, LENGTH[norm])
        there = np.multiply.outer(*(cells(cdf, edges, s) for s in shift)).ravel()
        assert worst_lead(here, there, q, rival) > -1e-9


# Closed forms, and the last digit.


def test_the_gaussian_radius_is_cohens():
    for p in np.linspace(0.51, 0.9999, 50):
        expected = 0.5 * stats.norm.ppf(p)
        radius = Gaussian(0.5).radius(1 - p, 1 - p, "l2")
        assert radius <= expected * (1 + 1e-12)
        assert radius == pytest.approx(expected, rel=1e-9)
    assert Gaussian(0.5).radius(0.1, 0.02, "l2") == pytest.approx(0.25 * (stats.norm.ppf(0.9) - stats.norm.ppf(0.02)))


def test_the_l1_radii_are_the_published_ones():
    for p in np.linspace(0.51, 0.9999, 50):
        b, half = 0.5 / math.sqrt(2), 0.5 * math.sqrt(3)
        assert Laplace(0.5).radius(1 - p, 1 - p, "l1") == pytest.approx(-b * math.log(2 * (1 - p)), rel=1e-6)
        assert Uniform(0.5).radius(1 - p, 1 - p, "l1") == pytest.approx(2 * half * (p - 0.5), rel=1e-6)
    assert Laplace(0.5).radius(0.6, 0.1, "l1") == pytest.approx(b * math.log(4) / 2, rel=1e-6)
    assert Uniform(0.5).radius(0.6, 0.1, "l1") == pytest.approx(half * 0.3, rel=1e-6)
    assert Laplace(0.5).radius(1e-300, 1e-300, "l1") == pytest.approx(b * (300 * math.log(10) - math.log(2)), rel=1e-6)


def pairs(count: int) -> list[tuple[float, float, float]]:
    """Random scales and probabilities, many of them next to where the radius vanishes."""
    generator = np.random.default_rng(2)
    sigma, q = generator.uniform(0.01, 2.0, count), generator.uniform(1e-6, 0.5, count)
    q[:20] = 0.5 - 10.0 ** -np.arange(1, 21, dtype=float).clip(1, 16)
    q[20:40] = 10.0 ** -np.linspace(2, 300, 20)
    rival = np.where(np.arange(count) % 3 == 0, q * generator.uniform(0.1, 1.0, count), q)
    return [(float(s), float(a), float(r)) for s, a, r in zip(sigma, q, rival, strict=True)]


def test_the_gaussian_radius_is_never_rounded_up():
    with mpmath.workdps(40):
        for sigma, q, _ in pairs(200):
            if q > 1e-290:
                drawn = min(mpmath.mpf(sigma), mpmath.mpf(float(np.float32(sigma))))
                radius = mpmath.mpf(Gaussian(sigma).radius(q, q, "l2"))
                assert mpmath.erfc(radius / drawn / mpmath.sqrt(2)) / 2 >= mpmath.mpf(q)


def test_the_l1_radii_are_never_rounded_up():
    with mpmath.workdps(400):
        for sigma, q, rival in pairs(300):
            laplace, uniform = Laplace(sigma), Uniform(sigma)
            p, b = 1 - mpmath.mpf(q), mpmath.mpf(laplace.b)
            exact = b * max(-mpmath.log(1 - p + rival), mpmath.log(p / rival) / 2)
            assert exact * (1 - mpmath.mpf(2) ** -50) <= laplace.radius(q, rival, "l1") <= exact
            exact = mpmath.mpf(uniform.half_width) * (p - rival)
            assert exact * (1 - mpmath.mpf(2) ** -50) <= uniform.radius(q, rival, "l1") <= exact


def test_l1_laws_draw_the_scale_that_their_radius_assumes():
    # sigma = 0.1 rounds up in float32: the radius is that of the number that multiplied the draws.
    uniform = Uniform(0.1)
    draws = uniform.sample((1_000_000,), torch.Generator().manual_seed(0))
    unit = torch.empty(1_000_000).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draws, unit * torch.tensor(uniform.half_width))
    assert float(draws.abs().max()) <= uniform.half_width
    laplace = Laplace(0.1).sample((1_000_000,), torch.Generator().manual_seed(0))
    assert torch.equal(laplace.signbit(), unit.signbit())
    expected = torch.copysign(-Laplace(0.1).b * unit.double().abs().log(), unit)
    torch.testing.assert_close(laplace.double(), expected, rtol=1e-5, atol=1e-8)


def test_laplace_noise_is_finite_where_the_uniform_draw_is_zero(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, *_, **__: self.zero_())
    [value] = Laplace(1.0).sample((1,), torch.Generator()).tolist()
    assert value == pytest.approx(24 * math.log(2) / math.sqrt(2))


def test_a_probability_of_zero_is_no_upper_bound_for_laplace():
    with pytest.raises(BadInput, match="must be above 0"):
        Laplace(1.0).radius(0.0, 0.1, "l1")
