"""How fast `certify.smooth` is on small networks, where what is not the model shows: fixed and declared schedules.

    python benchmarks/smoothing_small.py --out results/smoothing_speed_small.md    # three minutes, one thread

CPU seconds of one process, the contestants in turn, the least of all rounds. The bare model runs on prepared inputs at
the best of all batch sizes, argmax included. Everything else is the public call: its checks, draws, votes and bounds.
The label of each input is the class that the network gives it, so most inputs reach all declared radii.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import torch
from torch import Tensor, nn

import certify
from certify.process import tune_process

SIGMA: Final = 0.25
RADII: Final = (0.0, 0.25, 0.5)
BATCHES: Final = tuple(2**k for k in range(5, 11))
IMAGES: Final = 2**14
"""Forward passes of the bare model in one measurement."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network and its inputs.

    Args:
        words: what the table calls it.
        layers: the layers, with weights from a seed.
        shape: of one input.
    """

    words: str
    layers: tuple[nn.Module, ...]
    shape: tuple[int, ...]

    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        net, generator = nn.Sequential(*self.layers).eval(), torch.Generator().manual_seed(0)
        for weight in net.requires_grad_(False).parameters():
            weight.normal_(0.0, weight[0].numel() ** -0.5, generator=generator)
        return net.to(memory_format=torch.channels_last) if len(self.shape) == 3 else net  # type: ignore[call-overload]

    def inputs(self, count: int) -> Tensor:
        """Inputs (count, ...) in [0, 1]."""
        return torch.rand((count, *self.shape), generator=torch.Generator().manual_seed(1))


RELU: Final = nn.ReLU()
CASES: Final = (
    Case("table: MLP 20-32-3", (nn.Linear(20, 32), RELU, nn.Linear(32, 3)), (20,)),
    Case(
        "vectors: MLP 784-256-256-10",
        (nn.Linear(784, 256), RELU, nn.Linear(256, 256), RELU, nn.Linear(256, 10)),
        (784,),
    ),
    Case(
        "28x28 images: two strided convolutions, two linear layers",
        (
            *(nn.Conv2d(1, 16, 4, 2, 1), RELU, nn.Conv2d(16, 32, 4, 2, 1), RELU, nn.Flatten()),
            *(nn.Linear(1568, 100), RELU, nn.Linear(100, 10)),
        ),
        (1, 28, 28),
    ),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How `certify.smooth` is called: on how many inputs, with how many samples at most."""

    words: str
    schedule: str
    inputs: int
    n: int


def ways(options: argparse.Namespace) -> tuple[Way, ...]:
    """The three ways."""
    return (
        Way("fixed, one input", "fixed", 1, options.n),
        Way("fixed, many inputs", "fixed", options.inputs, 1_000),
        Way("declared 0, 0.25, 0.5, many inputs", "declared", options.inputs // 4, 100_000),
    )


def bare(net: nn.Module, x: Tensor) -> float:
    """CPU microseconds an input."""
    with torch.inference_mode():
        net(x).argmax(1)
        begin = time.process_time()
        for _ in range(IMAGES // len(x)):
            net(x).argmax(1)
    return 1e6 * (time.process_time() - begin) / (IMAGES // len(x) * len(x))


def smooth(classifier: certify.Classifier, x: Tensor, labels: list[int], way: Way) -> tuple[float, float]:
    """CPU microseconds a sample, and samples an input."""
    threat = certify.ThreatModel("l2", RADII)
    begin = time.process_time()
    made = certify.smooth(classifier, x, labels, threat=threat, sigma=SIGMA, n=way.n, schedule=way.schedule)
    seconds, samples = time.process_time() - begin, sum(one.forward_passes for one in made)
    return 1e6 * seconds / samples, samples / len(x)


def rows(case: Case, options: argparse.Namespace) -> list[str]:
    """The lines of a table about one network."""
    net = case.network()
    classifier = certify.Classifier(net, num_classes=net(case.inputs(2)).shape[1])
    x = case.inputs(options.inputs)
    labels = classifier.predict(x).tolist()
    prepared = [classifier.to_layout(case.inputs(size)) for size in BATCHES]
    best = min(prepared, key=lambda batch: min(bare(net, batch) for _ in range(3)))
    smooth(classifier, x[:16], labels[:16], Way("", "declared", 16, 100_000))  # works out the schedule
    plain: list[float] = []
    found: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways(options)}
    for _ in range(options.rounds):
        plain.append(bare(net, best))
        for way, measured in found.items():
            measured.append(smooth(classifier, x[: way.inputs], labels[: way.inputs], way))
    lines = [f"| {case.words} | bare, batch {len(best)} | {min(plain):.2f} | {1e6 / min(plain):,.0f} | 1.00 | 1.00 |"]
    for way, measured in found.items():
        least, (_, mean) = min(one for one, _ in measured), measured[0]
        within = median(a / b for a, (b, _) in zip(plain, measured, strict=True))
        words = f"{way.words}: {way.inputs:,} of {mean:,.0f} samples"
        lines.append(f"| | {words} | {least:.2f} | {1e6 / least:,.0f} | {min(plain) / least:.2f} | {within:.2f} |")
    return lines


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50_000, help="samples of one input")
    parser.add_argument("--inputs", type=int, default=400, help="many inputs; a quarter of them is declared")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    headings = ["| network | | µs a sample | samples/s | of bare: best | median |", "|---|---|---|---|---|---|"]
    lines = [line for case in CASES for line in rows(case, options)]
    command = (
        f"`python benchmarks/smoothing_small.py --n {options.n} --inputs {options.inputs} --rounds {options.rounds}`"
    )
    machine = f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, one thread"
    text = "\n\n".join(["# Smoothing of small networks", f"{command} on {machine}", "\n".join(headings + lines)])
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
