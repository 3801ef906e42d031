"""Our bounds beside those that another library reached, on every published network of its table."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from networks import Reference

import certify
from certify.bounds.methods import METHODS
from certify.core.evidence import Claim
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator

FILES = {
    "IBP": ("b1", "b32", "b128"),
    "CROWN-IBP": ("b1", "b32", "b128"),
    "CROWN": ("b1", "b2", "b8", "b32", "b128"),
    "CROWN-matrix": ("b32",),
    "alpha": ("b1", "b8", "b32"),
}

MOST = {"*_alpha_*": 4, "resnet*_CROWN_*": 4, "*_b128_CROWN_*": 32}
"""Images that are bounded, where all of them would take too long; which ones is drawn from a seed."""

NOISE = 2e-6
"""Of float32, relative to a network's mean absolute margin."""

ROW = 1e-4
"""What single rows may fall short by, relative to themselves or to the mean absolute margin."""

SHORT = {"mnist_cnn_a_adv_b32_CROWN_eps0.30000.npz": 1}
"""Rows that fall short by more: a tighter box of an earlier layer may tilt a lower plane the other way."""


@pytest.fixture(scope="module")
def folder(bench_data) -> Path:
    found = bench_data / "bound_reference"
    if not found.is_dir():
        pytest.skip(f"no reference bounds at {found}")
    return found


def references(folder: Path, method: str) -> dict[str, Reference]:
    """By file name, subsets where a whole file takes too long."""
    files = [file for batch in FILES[method] for file in networks.reference_files(f"*_{batch}_{method}_eps*.npz")]
    assert {file.parent for file in files} == {folder}
    found = {file.name: Reference.read(file) for file in files}
    for name, one in found.items():
        most = min([len(one.y), *(most for pattern, most in MOST.items() if fnmatch(name, pattern))])
        if most < len(one.y):
            found[name] = one.rows(np.sort(seeded_generator("subset", name).choice(len(one.y), most, replace=False)))
    return found


def bounded(one: Reference, dtype: torch.dtype, claim: Claim | None) -> np.ndarray:
    """Lower bounds in float64, however they were computed."""
    bounds = METHODS[networks.METHODS[one.method]]
    found = bounds(networks.graph(one.network).to(dtype), one.region(dtype), one.C(dtype), claim=claim)
    return found.lower.double().numpy()


def mean_margin(lower: np.ndarray) -> float:
    return float(lower.min(axis=1).mean())


@pytest.mark.parametrize("method", FILES)
def test_bounds_are_no_looser_than_the_reference(folder, method):
    count = 0
    for name, one in references(folder, method).items():
        lower, scale = bounded(one, torch.float32, None), float(np.abs(one.lower).mean())
        assert mean_margin(lower) >= mean_margin(one.lower) - (0 if method == "alpha" else NOISE * scale), name
        assert (lower.min(axis=1) > 0).sum() >= (one.lower.min(axis=1) > 0).sum(), name
        with torch.no_grad():
            scores = networks.graph(one.network).forward(one.x)
        reached = (one.C(torch.float32) @ scores.unsqueeze(2)).squeeze(2).numpy()
        assert (lower <= reached + NOISE * scale).all(), name
        if method == "IBP":
            assert np.abs(lower - one.lower).max() <= NOISE * scale, name
        if method != "alpha":
            missing = (one.lower - lower) / np.maximum(np.abs(one.lower), scale)
            assert (missing > ROW).sum() == SHORT.get(name, 0), name
            assert missing.max() < 0.02, name
        count += 1
    assert count == len([name for batch in FILES[method] for name in folder.glob(f"*_{batch}_{method}_eps*.npz")]) > 0


@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP", "CROWN"])
def test_a_claim_costs_little_and_never_exceeds_what_is_exact(folder, method):
    for name, one in references(folder, method).items():
        if "_b32_" not in name:
            continue
        few = one.rows(slice(0, 2 if one.network == "resnet2b" else 8))
        scale = np.maximum(np.abs(few.lower), np.abs(one.lower).mean())
        plain, unclaimed = bounded(few, torch.float32, None), bounded(few, torch.float64, None)
        exact, executed = (bounded(few, torch.float64, claim) for claim in ("exact", "float32"))
        assert (exact < unclaimed).all(), name
        assert (executed < exact).all(), name
        assert ((unclaimed - exact) / scale).max() < 1e-9, name
        assert (np.abs(plain - exact) / scale).max() < 1e-4, name
        assert ((plain - executed) / scale).max() < 0.05, name


@pytest.mark.parametrize(
    ("file", "eps"),
    [("full_kw_mnist_CROWN_eps0.10000_n1000", 0.1), ("full_cifar_cnn_a_mix_CROWN_eps0.00784_n200", 2 / 255)],
)
def test_verdicts_agree_with_the_published_run(folder, file, eps):
    one = Reference.read(folder / f"{file}.npz").rows(slice(0, 50))
    classifier = certify.Classifier(networks.module(one.network), num_classes=10)
    threat = certify.ThreatModel("linf", (eps,))
    certificates = certify.bound(classifier, one.x, one.y, threat=threat, method="crown", decide=True)
    certified = np.array([certificate.verdict is Verdict.CERTIFIED for certificate in certificates])
    assert (certified == (one.lower.min(axis=1) > 0)).all()
    assert 5 < certified.sum() < 50
