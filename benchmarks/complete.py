"""Verified accuracies by complete verification beside published ones, and brackets of true radii.

    python benchmarks/complete.py --out results/complete.md                    # all 200 images: hours of one core
    python benchmarks/complete.py --limit 20 --timeout 30                      # a seeded subset with its standard error

Every verified image has a proof that can be replayed, every falsified one an example; one core.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import networks
import numpy as np
import torch

import certify
from certify.core.certificate import Certificate
from certify.core.norms import Norm
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its images, a radius in pixels, and the share of them that others verified at it, in percent."""

    network: str
    images: str
    eps: str
    beta_crown: float
    biccos: float
    upper: float

    @property
    def radius(self) -> float:
        """``eps`` as a number."""
        above, _, below = self.eps.partition("/")
        return float(above) / float(below or 1)


CASES: Final = (
    Case("mnist_cnn_a_adv", "mnist_sdp_200", "0.3", 71.0, 76.0, 76.5),
    Case("cifar_cnn_a_adv", "cifar10_sdp_200", "2/255", 45.5, 48.5, 50.0),
    Case("cifar_cnn_a_adv4", "cifar10_sdp_200", "2/255", 46.5, 48.5, 49.5),
    Case("cifar_cnn_a_mix", "cifar10_sdp_200", "2/255", 42.0, 48.0, 53.0),
    Case("cifar_cnn_a_mix4", "cifar10_sdp_200", "2/255", 51.0, 56.0, 57.5),
)

VERIFIED: Final = (
    "network | eps | images | clean, % | verified, % | s.e. | falsified, % | open, % | beta-CROWN, % | BICCOS, % "
    "| at most, % | median s | mean s"
)
BRACKETS: Final = "norm | image | label | proven | example at | gap, % | proof by | regions | seconds"
NETWORK: Final = "mnist_2_50"
CAP: Final = 0.1
GAP: Final = 0.01

NOTES: Final = """`verified`: share of the images that are classified correctly and proven to keep their class. `s.e.`:
of a seeded random subset of the 200 images, sqrt(p (1 - p) / n (200 - n) / 199). `falsified`: share that is
classified correctly and has an example within eps. `open`: neither, within the time limit. `median s`, `mean s`: of the
images that are classified correctly. `beta-CROWN`, `BICCOS` and `at most` (what PGD leaves) were published for all 200
images, with time limits of minutes on a GPU."""


def share(count: int, n: int) -> str:
    """A count in percent."""
    return f"{100 * count / n:.1f}"


def verified(case: Case, limit: int, timeout: float) -> str:
    """A line of the first table."""
    x, y = networks.images(case.images)
    classifier = certify.Classifier(networks.module(case.network), num_classes=10)
    n, threat = min(limit, len(y)), certify.ThreatModel("linf", (case.radius,))
    chosen = np.sort(seeded_generator("complete", case.network).choice(len(y), n, replace=False))
    correct = chosen[(classifier.predict(x[chosen]) == y[chosen]).numpy()]
    found: list[Certificate] = []
    for i in correct.tolist():
        found += certify.verify(classifier, x[i : i + 1], y[i : i + 1], threat=threat, timeout=timeout, index=[i])
        one = found[-1]
        print(f"{case.network} {one} {one.evidence.solver} {one.seconds:.1f} s", file=sys.stderr, flush=True)
    proven, broken = (sum(c.verdict is v for c in found) for v in (Verdict.CERTIFIED, Verdict.FALSIFIED))
    error = math.sqrt(proven / n * (1 - proven / n) / n * (len(y) - n) / (len(y) - 1))
    seconds = [one.seconds for one in found]
    cells = [case.network, case.eps, f"{n}", share(len(correct), n), share(proven, n), f"{100 * error:.1f}"]
    cells += [share(broken, n), share(len(found) - proven - broken, n)]
    cells += [f"{value:.1f}" for value in (case.beta_crown, case.biccos, case.upper)]
    return "| " + " | ".join([*cells, f"{median(seconds):.2f}", f"{sum(seconds) / len(seconds):.2f}"]) + " |"


def brackets(norm: Norm, count: int, timeout: float) -> list[str]:
    """Lines of the second table, one an image."""
    x, y = networks.images("mnist_test_1000")
    classifier = certify.Classifier(networks.module(NETWORK), num_classes=10)
    threat = certify.ThreatModel(norm, (0.0, CAP if norm == "linf" else 10 * CAP))
    flat, lines = x[:count].flatten(1), []
    for one in certify.verify(classifier, flat, y[:count], threat=threat, gap=GAP, timeout=timeout):
        evidence = one.evidence
        ends = [evidence.certified, evidence.falsified]
        gap = "" if None in ends else f"{100 * (ends[1] - ends[0]) / ends[1]:.2f}"
        cells = [norm, f"{one.index}", f"{one.label}", *("" if end is None else f"{end:.6f}" for end in ends), gap]
        cells += [evidence.solver, f"{evidence.subproblems:,}", f"{one.seconds:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def table(headings: str, words: int, lines: list[str]) -> str:
    """A Markdown table whose first columns are words, and the others numbers."""
    rest = headings.count("|") + 1 - words
    return "\n".join([f"| {headings} |", "|" + " --- |" * words + " ---: |" * rest, *lines])


def main() -> None:
    """Make both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.network for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="rows of these networks")
    parser.add_argument("--limit", type=int, default=200, help="a seeded random subset of so many images")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for an image")
    parser.add_argument("--brackets", type=int, default=10, help="images whose true radii are enclosed")
    parser.add_argument("--out", type=Path, help="also write the tables to this Markdown file")
    options = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    chosen = [case for case in CASES if case.network in options.only]
    rows = [verified(case, options.limit, options.timeout) for case in chosen]
    norms: tuple[Norm, ...] = ("linf", "l2")
    lines = [line for norm in norms for line in brackets(norm, options.brackets, options.timeout)]
    asked = f"--limit {options.limit} --timeout {options.timeout:g} --brackets {options.brackets}"
    parts = [
        "# Complete verification of classifiers",
        f"    python benchmarks/complete.py {asked}" + (f" --only {' '.join(options.only)}" * (len(rows) < len(CASES))),
        f"## Verified accuracy, at most {options.timeout:g} s an image",
        table(VERIFIED, 2, rows),
        NOTES,
        f"## True radii around MNIST images, {NETWORK}, gap {100 * GAP:g} %, at most {options.timeout:g} s an image",
        table(BRACKETS, 1, lines),
    ]
    text = "\n\n".join(parts)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
