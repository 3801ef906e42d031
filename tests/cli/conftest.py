"""A certification log and attack logs of a simulated model, and two small runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.stats.ladder import rungs

SIGMA, N, ALPHA = 0.25, 10_000, 0.001
HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def log_lines(sigma: float = SIGMA, inputs: int = 200, step: int = 1) -> list[str]:
    """A log of a simulated model: every input is of class 1, one in ten is answered wrongly, some not at all."""
    generator = np.random.default_rng(1)
    votes = generator.binomial(N, 1 - 10 ** generator.uniform(-6, -0.2, inputs))
    lines = []
    for place, radius in enumerate(rungs(votes, N, ALPHA, sigma)):
        predict = -1 if radius <= 0 else 0 if place % 10 == 9 else 1
        printed = f"{radius:.3}" if radius > 0 else "0.0"
        lines.append(f"{place * step}\t1\t{predict}\t{printed}\t{int(predict == 1)}\t0:00:0{place % 10}.5\n")
    return lines


def attack_lines(wrong: set[int], step: int = 4, inputs: int = 50) -> str:
    answers = [(place * step, 0 if place * step in wrong else 1) for place in range(inputs)]
    rows = "".join(f"{index}\t1\t{answer}\t0\t{answer}\t1.5\n" for index, answer in answers)
    return "idx\tlabel\tpredict\tbasePredict\tcorrect\ttime\n" + rows


@pytest.fixture(scope="session")
def logs() -> SimpleNamespace:
    """The header of a certification log, its lines, and the text of an attack log."""
    return SimpleNamespace(header=HEADER, lines=log_lines, attack=attack_lines)


POLICY = '[threat]\nnorm = "linf"\n[[require]]\nkind = "complete"\n'


@pytest.fixture(scope="session")
def two_runs_made(tmp_path_factory) -> Path:
    """A whole run of four points, under a linear model, and one under another."""
    folder = tmp_path_factory.mktemp("runs")
    x, y = np.float32([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.6, 0.5]]), np.array([0, 1, 1, 0])
    for name, scale in (("run", 1.0), ("other", 2.0)):
        module = nn.Linear(2, 2, bias=False).eval()
        with torch.no_grad():
            module.weight.copy_(scale * torch.eye(2))
        classifier = certify.Classifier(module, num_classes=2)
        threat = certify.ThreatModel("linf", (0.0, 0.1))
        certify.evaluate(classifier, (x, y), threat=threat, certifier="ibp", attack="fgsm", out=folder / name, seed=0)
    return folder


@pytest.fixture
def two_runs(two_runs_made, tmp_path, monkeypatch) -> Path:
    """Copies ``run`` and ``other`` in the working folder, to be damaged, and a ``POLICY.toml`` that they meet."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "other"):
        shutil.copytree(two_runs_made / name, name)
    Path("POLICY.toml").write_text(POLICY)
    return Path("run")
