"""Our bounds beside those that another library reached, on every published network of its table."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from networks import Reference
from numpy.typing import NDArray

import certify
from certify.bounds.methods import METHODS
from certify.core.evidence import Claim
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator

MOST = {"*_alpha_*": 4, "resnet*_CROWN_*": 4, "*_b128_CROWN_*": 32}
"""Images that are bounded, where all of a file's would take too long; which ones is drawn from a seed."""

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


def references(folder: Path, method: str, batch: str = "*") -> dict[str, Reference]:
    """By file name; subsets where a whole file takes too long."""
    found = {}
    for file in sorted(folder.glob(f"*_b{batch}_{method}_eps*.npz")):
        one = Reference.read(file)
        most = min([len(one.y), *(most for pattern, most in MOST.items() if fnmatch(file.name, pattern))])
        chosen = seeded_generator("subset", file.name).choice(len(one.y), most, replace=False)
        found[file.name] = one.rows(np.sort(chosen))
    return found


def bounded(one: Reference, dtype: torch.dtype, claim: Claim | None) -> NDArray[np.float64]:
    """Lower bounds in float64, however they were computed."""
    method, graph = METHODS[networks.METHODS[one.method]], networks.graph(one.network).to(dtype)
    return method(graph, one.region(dtype), one.C(dtype), claim=claim).lower.double().numpy()


def test_every_file_is_compared(folder):
    compared = {name for method in networks.METHODS for name in references(folder, method)}
    assert compared == {file.name for file in folder.glob("*.npz") if not file.name.startswith("full_")}
    assert len(compared) > 40


@pytest.mark.parametrize("method", networks.METHODS)
def test_bounds_are_no_looser_than_the_reference(folder, method):
    for name, one in references(folder, method).items():
        lower, scale = bounded(one, torch.float32, None), float(np.abs(one.lower).mean())
        ours, theirs = lower.min(axis=1), one.lower.min(axis=1)
        assert ours.mean() >= theirs.mean() - (0 if method == "alpha" else NOISE * scale), name
        assert (ours > 0).sum() >= (theirs > 0).sum(), name
        scores = networks.graph(one.network).forward(one.x)
        reached = (one.C(torch.float32) @ scores.unsqueeze(2)).squeeze(2).numpy()
        assert (lower <= reached + NOISE * scale).all(), name
        if method == "IBP":
            assert np.abs(lower - one.lower).max() <= NOISE * scale, name
        if method != "alpha":  # a search need not end where another one does
            missing = (one.lower - lower) / np.maximum(np.abs(one.lower), scale)
            assert (missing > ROW).sum() == SHORT.get(name, 0), name
            assert missing.max() < 0.02, name


@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP", "CROWN"])
def test_a_claim_costs_little_and_never_exceeds_what_is_exact(folder, method):
    for name, one in references(folder, method, batch="32").items():
        few = one.rows(slice(0, 1 if one.network == "resnet2b" else 4))
        scale = np.maximum(np.abs(few.lower), np.abs(one.lower).mean())
        plain, unclaimed = bounded(few, torch.float32, None), bounded(few, torch.float64, None)
        exact, executed = (bounded(few, torch.float64, claim) for claim in ("exact", "float32"))
        assert (exact < unclaimed).all(), name
        assert (executed < exact).all(), name
        assert ((unclaimed - exact) / scale).max() < 2e-9, name
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
