"""Fixtures that several rooms share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hypothesis
import pytest
import torch
from torch import nn

from certify.core.threats.lp import ThreatModel
from certify.models.classifier import Classifier

# How long an example takes says what else runs on the machine, and nothing about the example.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """Published networks and reference figures, where this machine has them."""
    path = Path(os.environ.get("CERTIFY_BENCH_DATA", ROOT / "../shared/data"))
    if not path.is_dir():
        pytest.skip(f"no benchmark data at {path}; set CERTIFY_BENCH_DATA")
    return path


def linear(weight: list[list[float]], bias: list[float] | None = None) -> nn.Module:
    """A linear network with these weights, in eval mode."""
    module = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
        if bias is not None:
            module.bias.copy_(torch.tensor(bias))
    return module.eval()


@pytest.fixture
def halves() -> Classifier:
    """Two features, two classes: the larger feature wins. Distance to the boundary: |x0 - x1| / sqrt(2) in l2."""
    return Classifier(linear([[1.0, 0.0], [0.0, 1.0]]), num_classes=2)


@pytest.fixture
def l2() -> ThreatModel:
    """Declared radii 0, 0.25 and 0.5 in l2."""
    return ThreatModel("l2", (0.0, 0.25, 0.5))


@pytest.fixture
def scoped():
    """The members of a family as a dictionary, to change until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda family: stack.enter_context(family.scoped())
