"""What share of a smoothing run is not sampling: bounds verified in ball arithmetic, radii, bookkeeping.

    python benchmarks/overhead.py --out results/overhead.md      # under a minute, one thread

The network is the demonstration's, which takes a few microseconds a sample; a larger network makes the share smaller.
Caches are warm as in a run: the schedule and its thresholds are worked out once, each input brings its own counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from certify.core.certificate import Look
from certify.data.batch import Batch
from certify.data.loaders import load_data
from certify.models.loaders import load_model
from certify.process import tune_process
from certify.smoothing.certify import certify_votes
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.sampler import Ballot, Sampler
from certify.smoothing.schedule import Schedule
from certify.smoothing.theorem import Theorem
from certify.training.train import train

SIGMA: Final = 0.25
ALPHA: Final = 0.001
RADII: Final = (0.0, 0.25, 0.5)


class Timed:
    """Votes, and the seconds it takes to draw and count them."""

    def __init__(self, votes: Sampler) -> None:
        self.votes, self.seconds = votes, 0.0

    def __len__(self) -> int:
        return len(self.votes)

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """The votes of each ballot."""
        begin = time.perf_counter()
        looks = self.votes.count(stage, ballots)
        self.seconds += time.perf_counter() - begin
        return looks


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=96, help="digits to certify")
    parser.add_argument("--n", type=int, default=10_000, help="most samples per input")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train("noise", load_data("digits:train"), Path(folder), sigma=SIGMA)
        classifier = load_model(folder)
    data = load_data("digits").subset(options.inputs + 16, 0)
    batch = Batch.of(torch.from_numpy(data.x), data.y, data.num_classes)
    theorem = Theorem(Gaussian(SIGMA), "l2", dimensions=batch.x[0].numel())
    rows = []
    for kind, together in (("fixed", 1), ("declared", 16)):
        looks = Schedule(options.n, ALPHA, kind).looks_for(theorem, RADII[0])
        whole = drawing = samples = 0.0
        for first in range(0, len(batch), together):
            chosen = slice(first, first + together)
            votes = Timed(Sampler(classifier, batch.x[chosen], batch.digests[chosen], theorem.noise, seed=0))
            labels = (batch.labels or ())[chosen]
            begin = time.perf_counter()
            results = certify_votes(votes, theorem, looks, RADII, chosen_by="label", labels=labels)
            if first < 16:
                continue  # to warm up
            whole += time.perf_counter() - begin
            drawing += votes.seconds
            samples += sum(result.samples for result in results)
        mean, share = samples / options.inputs, 100 * (1 - drawing / whole)
        rows.append(f"| {kind} | {mean:,.0f} | {1e6 * whole / samples:.1f} | {share:.2f} |")
    headings = ["| schedule | samples per input | microseconds per sample | not sampling, % |", "|---|---|---|---|"]
    command = f"    python benchmarks/overhead.py --inputs {options.inputs} --n {options.n}"
    text = "\n\n".join(["# What of a run is not sampling", command, "\n".join(headings + rows)])
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
