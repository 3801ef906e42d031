"""Certified accuracies that were published for published networks, and those of our certificates.

    python benchmarks/published_bounds.py --out results/published_bounds.md      # twelve minutes of one core

Every image counted has a certificate: float64 bounds with error terms, made by `certify.bound(..., decide=True)`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import networks
import numpy as np
import torch
from numpy.typing import NDArray

import certify
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator

METHODS: Final = {"ibp": "IBP", "crown": "CROWN", "alpha-crown": "alpha"}
"""Cheapest first, and what the reference calls them. Each is asked for the images that no earlier one certifies."""

HEADINGS: Final = (
    "network | eps | method | images | clean, % | certified, % | s.e. | published, % | auto_LiRPA, same images, % "
    "| asked | CPU s per image asked"
)

NOTES: Final = """`certified`: share of the images that are classified correctly and certified, by the method or a
cheaper one above it. `s.e.`: what drawing the images from the set of the published number would leave, the square root
of p (1 - p) / n (N - n) / (N - 1); 0 where they are that set. The 200 images of CNN-A are those of Dathathri et al.
2020. ResNet-2B's published numbers are about 10,000 test images, ours about the same 200 or a seeded sample of them, as
if these had been drawn at random. The published numbers for CNN-A come from branch and bound, which decides more than
bounds alone. `asked`: the images that the method was asked about, correct ones that no cheaper method certifies.
`auto_LiRPA`: its IBP or CROWN in plain float32, where it was run on the same images."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its images, a radius in pixels, and what was published about them.

    Args:
        among: how many images the published number is about.
        most: how many images alpha-CROWN works on; the others would take too long.
    """

    network: str
    images: str
    eps: str
    published: dict[str, str]
    among: int
    most: int = 1000

    @property
    def radius(self) -> float:
        """``eps`` as a number."""
        above, _, below = self.eps.partition("/")
        return float(above) / float(below or 1)


CASES: Final = (
    Case("kw_mnist", "mnist_test_1000", "0.1", {"crown": "94.2 (its authors' bound)"}, 10_000),
    Case("resnet2b", "cifar10_sdp_200", "1/255", {"crown": "57.16 (CROWN)"}, 10_000, most=200),
    Case("resnet2b", "cifar10_sdp_200", "2/255", {"crown": "26.88 (CROWN)"}, 10_000, most=80),
    Case(
        "cifar_cnn_a_mix",
        "cifar10_sdp_200",
        "2/255",
        {"alpha-crown": "42.0 (beta-CROWN), 48.0 (BICCOS), at most 53.0"},
        200,
    ),
    Case(
        "mnist_cnn_a_adv",
        "mnist_sdp_200",
        "0.3",
        {"alpha-crown": "71.0 (beta-CROWN), 76.0 (BICCOS), at most 76.5"},
        200,
    ),
)


def on_the_same_images(case: Case, method: str, chosen: NDArray[np.int64]) -> str:
    """The reference's certified accuracy in percent, where it was run on these images."""
    for file in networks.DATA.glob(
        f"bound_reference/full_{case.network}_{METHODS[method]}_eps{case.radius:.5f}_n*.npz"
    ):
        with np.load(file) as saved:
            if len(saved["y"]) == len(chosen):
                return f"{100 * (saved['clean_ok'] & (saved['lb'].min(axis=1) > 0)).mean():.1f}"
    return ""


def rows(case: Case) -> list[str]:
    """Lines of the table, one a method."""
    x, y = networks.images(case.images)
    classifier = certify.Classifier(networks.module(case.network), num_classes=10)
    threat = certify.ThreatModel("linf", (case.radius,))
    certify.bound(classifier, x[:1], threat=threat, method="ibp", decide=True)  # imports the network
    correct = (classifier.predict(x) == y).numpy()
    certified, lines = np.zeros(len(y), dtype=bool), []
    chosen = np.arange(len(y))
    for method in METHODS:
        if method == "alpha-crown" and case.most < len(y):
            drawn = seeded_generator("published", case.network, case.eps).choice(len(y), case.most, replace=False)
            chosen = np.sort(drawn)
        asked = chosen[correct[chosen] & ~certified[chosen]]
        begin = time.process_time()
        found = certify.bound(
            classifier, x[asked], y[asked], threat=threat, method=method, decide=True, index=asked.tolist()
        )
        seconds = time.process_time() - begin
        certified[asked] = [one.verdict is Verdict.CERTIFIED and one.holds_at(case.radius) for one in found]
        p, n = float(certified[chosen].mean()), len(chosen)
        error = math.sqrt(p * (1 - p) / n * (case.among - n) / (case.among - 1))
        cells = [case.network, case.eps, method, f"{n:,}", f"{100 * correct[chosen].mean():.1f}", f"{100 * p:.1f}"]
        cells += [f"{100 * error:.1f}", case.published.get(method, ""), on_the_same_images(case, method, chosen)]
        lines.append("| " + " | ".join([*cells, f"{len(asked):,}", f"{seconds / max(1, len(asked)):.4f}"]) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[case.network for case in CASES], help="rows of these networks")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    lines = [line for case in CASES if case.network in (options.only or [case.network]) for line in rows(case)]
    count = HEADINGS.count("|") + 1
    parts = [
        "# Published certified accuracies",
        "    python benchmarks/published_bounds.py" + " --only " * bool(options.only) + " ".join(options.only or []),
        "\n".join([f"| {HEADINGS} |", "|" + " --- |" * 3 + " ---: |" * (count - 3), *lines]),
        NOTES,
    ]
    text = "\n\n".join(parts)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
