"""Two small finished runs on real digits: one smoothed, one proven, both attacked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.core.run import Run
from certify.core.summary import Contradiction
from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.models.classifier import Classifier
from certify.study.read import read_run, read_runs


def nearest_mean() -> nn.Module:
    """A linear network that returns the class whose mean training image is nearest."""
    train = load_data("digits:train")
    means = torch.stack([torch.from_numpy(train.x[train.y == label].mean(0).ravel()) for label in range(10)])
    linear = nn.Linear(64, 10)
    with torch.no_grad():
        linear.weight.copy_(2 * means)
        linear.bias.copy_(-means.square().sum(1))
    return nn.Sequential(nn.Flatten(), linear).eval()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits").subset(24, seed=0)


@pytest.fixture(scope="session")
def run_folders(digits, tmp_path_factory) -> dict[str, Path]:
    """The folders of the runs ``smoothed`` (l2) and ``proven`` (linf)."""
    folder, classifier = tmp_path_factory.mktemp("runs"), Classifier(nearest_mean(), num_classes=10, name="nearest")
    l2 = certify.ThreatModel("l2", (0.0, 0.25, 0.5), units="pixels in [0, 1]")
    linf = certify.ThreatModel("linf", (0.0, 0.05, 0.1), units="pixels in [0, 1]")
    common = {"attack": "pgd", "attack_option": {"steps": 5, "restarts": 1}, "seed": 0}
    options = {"sigma": 0.25, "n": 1000, "alpha": 0.001}
    certify.evaluate(classifier, digits, threat=l2, certifier="smoothing", out=folder / "smoothed", **common, **options)
    certify.evaluate(classifier, digits, threat=linf, certifier=("ibp", "crown"), out=folder / "proven", **common)
    return {name: folder / name for name in ("smoothed", "proven")}


@pytest.fixture(scope="session")
def runs(run_folders) -> dict[str, Run]:
    """The two runs, read."""
    return {run.name: run for run in read_runs(list(run_folders.values()))}


@pytest.fixture(scope="session")
def shuffled(digits) -> Dataset:
    """The same positions with each other's inputs."""
    return Dataset("digits test", np.roll(digits.x, 1, axis=0), digits.y, 10, index=digits.index)


@pytest.fixture(scope="session")
def smoothed(runs) -> Run:
    """The smoothed one."""
    return runs["smoothed"]


@pytest.fixture(scope="session")
def unattacked(digits, tmp_path_factory) -> Run:
    """Proven by two methods, and attacked by nothing."""
    out, classifier = tmp_path_factory.mktemp("runs") / "unattacked", Classifier(nearest_mean(), num_classes=10)
    linf = certify.ThreatModel("linf", (0.0, 0.05, 0.1), units="pixels in [0, 1]")
    certify.evaluate(classifier, digits, threat=linf, certifier=("ibp", "crown"), out=out, seed=0)
    return read_run(out)


@pytest.fixture
def contradicted(smoothed) -> Run:
    """The smoothed run with examples inside certified radii, and not finished."""
    found = tuple(Contradiction(index, "smoothing", 0.5, "pgd", 0.25) for index in range(25))
    return replace(smoothed, name="wrong", summary=replace(smoothed.summary, contradictions=found, expected=99))


@pytest.fixture
def hostile(smoothed) -> Run:
    """The smoothed run, every name of which tries to break out of its place."""
    name = r"50%_a&b #1 $x$ {y} \input{z} <script>|</td>| `c` *d* [e](http://f.g) @team ~^ " + chr(0x4E2D)
    parts = {part: {**smoothed.settings[part], "name": name} for part in ("model", "data")}
    summary = replace(
        smoothed.summary,
        threat=replace(smoothed.summary.threat, units=name),
        head=dict.fromkeys(("model", "data", "threat"), name),
    )
    return replace(smoothed, name=name, summary=summary, settings={**smoothed.settings, **parts})
