"""How many samples declared radii take, beside a fixed number and beside a genie who knows the probabilities.

    python benchmarks/samples.py --out results/samples.md --plot docs/samples.png      # five minutes

The votes are replayed through the product's own loop, `certify_votes`. Their probabilities are those behind the
published log of Cohen et al.'s CIFAR-10 network at sigma 0.25: each printed radius is a rung of the ladder of 100,000
samples at alpha 0.001, and a rung is a number of votes. The log is silent about the rest, which is put where it costs
most: of a wrong prediction all other votes go to the label, and an abstention is a tie between the label and one other
class.

A second table compares ways to name the class and to bound the runner-up on real votes of the demonstration's network.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import special

from certify.core.certificate import Look
from certify.smoothing.certify import RIVAL_SHARE, ChosenBy, SmoothedRadius, certify_votes
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.sampler import Ballot
from certify.smoothing.schedule import Schedule
from certify.smoothing.theorem import Theorem
from certify.stats.ladder import rungs
from certify.store.logs import read_certification_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGMA: Final = 0.25
ALPHA: Final = 0.001
N: Final = 100_000
N0: Final = 100
DECLARED: Final = ((0.0,), (0.25,), (0.5,), (0.75,), (0.0, 0.25, 0.5), (0.0, 0.25, 0.5, 0.75))
THEOREM: Final = Theorem(Gaussian(SIGMA), "l2", dimensions=3 * 32 * 32)
LABEL, OTHER = 0, 1
Floats = NDArray[np.float64]


def probabilities(log: Path) -> Floats:
    """The probability of the label at each input of the log, as far as the log tells."""
    read = read_certification_log(log)
    k = np.arange(N // 2, N + 1)
    ladder = rungs(k, N, ALPHA, SIGMA)
    printed = np.array([float(radius) for radius in read.printed])
    above = np.clip(np.searchsorted(ladder, printed), 1, len(ladder) - 1)
    nearest = np.where(ladder[above] - printed < printed - ladder[above - 1], above, above - 1)
    p = k[nearest] / N
    label = np.where(read.predict == read.label, p, 1.0 - p)
    return np.where(read.predict < 0, 0.5, label)


class Replayed:
    """Inputs whose votes are drawn for the label or one other class."""

    def __init__(self, p: Floats, seed: int) -> None:
        self.p, self.generator = p, np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.p)

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """Binomial votes for each ballot."""
        drawn = np.array([ballot.stop - ballot.start for ballot in ballots])
        votes = self.generator.binomial(drawn, self.p[[ballot.row for ballot in ballots]])
        return [Look(n, {LABEL: k, OTHER: n - k}) for n, k in zip(drawn.tolist(), votes.tolist(), strict=True)]


@dataclass(frozen=True)
class Outcome:
    """Samples of each input, and its certified radius where the label was certified, -1 elsewhere."""

    samples: Floats
    radius: Floats

    @classmethod
    def of(cls, results: Sequence[SmoothedRadius], labels: Iterable[int]) -> Outcome:
        """Keep what is right and certified."""
        pairs = zip(results, labels, strict=True)
        radius = [one.radius if one.radius is not None and one.prediction == label else -1.0 for one, label in pairs]
        return cls(np.array([one.samples for one in results]), np.array(radius))

    def certified(self, radii: Sequence[float]) -> Floats:
        """Certified accuracy at each radius."""
        return np.array([(self.radius >= radius).mean() for radius in radii])


def run(p: Floats, radii: tuple[float, ...], kind: str, chosen_by: ChosenBy, seed: int, n: int = N) -> Outcome:
    """Certify all inputs once, by the product's loop."""
    looks = Schedule(n, ALPHA, kind).looks_for(THEOREM, radii[0])
    labels = [LABEL] * len(p)
    given = labels if chosen_by == "label" else None
    results = certify_votes(Replayed(p, seed), THEOREM, looks, radii, chosen_by=chosen_by, n0=N0, labels=given)
    return Outcome.of(results, labels)


def genie(p: Floats, radii: Sequence[float]) -> float:
    """Mean samples of somebody who knows p, and draws just enough to prove the largest radius that N samples prove.

    Enough means that the expected misses prove it, which happens about every other time. Nothing is drawn where no
    declared radius can be proven.
    """
    needed = np.zeros(len(p))
    for radius in radii:
        q = THEOREM.most_missed(radius)
        fewest = np.zeros(len(p))
        for n in np.unique(np.round(np.geomspace(8, N, 600)).astype(int)):
            misses = np.floor(n * (1.0 - p) + 1e-9)
            proves = special.bdtr(misses, n, q) <= ALPHA
            fewest = np.where((fewest == 0) & proves, n, fewest)
        needed = np.where(fewest > 0, fewest, needed)
    return float(needed.mean())


def samples_table(p: Floats, rounds: int, console: Console) -> list[list[str]]:
    """One row for each set of declared radii and each mode."""
    rows = []
    modes: tuple[tuple[str, ChosenBy], ...] = (("label", "label"), ("predict", "draws"))
    todo = list(itertools.product(DECLARED, modes))
    for radii, (mode, chosen_by) in track(todo, console=console, description="replaying"):
        fixed = [run(p, radii, "fixed", chosen_by, seed) for seed in range(rounds)]
        declared = [run(p, radii, "declared", chosen_by, 100 + seed) for seed in range(rounds)]
        mean = float(np.mean([one.samples.mean() for one in declared]))
        at_fixed = np.mean([one.certified(radii) for one in fixed], axis=0)
        lost = at_fixed - np.mean([one.certified(radii) for one in declared], axis=0)
        best = genie(p, radii)
        rows.append(
            [
                ", ".join(f"{radius:g}" for radius in radii),
                mode,
                f"{mean:,.0f}",
                f"{N / mean:.1f}",
                " / ".join(f"{100 * one:.2f}" for one in lost),
                " / ".join(f"{100 * one:.1f}" for one in at_fixed),
                f"{best:,.0f} ({N / best:.0f}x)",
                f"{mean / best:.2f}",
            ]
        )
    return rows


def curve_table(p: Floats, console: Console) -> list[list[str]]:
    """What happens to the whole curve, radii that nobody declared included."""
    curve = tuple(step / 100 for step in range(86))  # 25,000 samples can certify no more than 0.864
    dense = tuple(step / 20 for step in range(18))
    ways: dict[str, tuple[tuple[float, ...], str, int]] = {
        f"fixed n={N:,}": ((0.0,), "fixed", N),
        "fixed n=50,000": ((0.0,), "fixed", 50_000),
        "fixed n=25,000": ((0.0,), "fixed", 25_000),
        "declared 0, 0.25, 0.5, 0.75": (DECLARED[-1], "declared", N),
        "declared 0, 0.05, .. 0.85": (dense, "declared", N),
    }
    done = {
        way: run(p, radii, kind, "label", 7, n)
        for way, (radii, kind, n) in track(ways.items(), console=console, description="curves")
    }
    best, rows = done[f"fixed n={N:,}"], []
    for way, one in done.items():
        lost = 100 * (best.certified(curve) - one.certified(curve))
        acr = float(np.maximum(one.radius, 0.0).mean())
        worst = int(lost.argmax())
        rows.append([way, f"{one.samples.mean():,.0f}", f"{lost[worst]:.1f} at {curve[worst]:g}", f"{acr:.4f}"])
    return rows


class Recorded:
    """Votes counted before: every way to use them is compared on the same draws."""

    def __init__(self, looks: dict[str, list[Look]]) -> None:
        self.looks = looks

    def __len__(self) -> int:
        return len(self.looks["estimation"])

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """The recorded looks."""
        return [self.looks[stage][ballot.row] for ballot in ballots]


def options_table(inputs: int, sizes: Sequence[int], console: Console) -> list[list[str]]:
    """Certified accuracy at each radius of every way to name the class and bound the runner-up, on real votes."""
    from certify.data.loaders import load_data
    from certify.models.loaders import load_model
    from certify.smoothing.sampler import Sampler
    from certify.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        console.print("training the demonstration's network")
        train("noise", load_data("digits:train"), Path(folder), sigma=SIGMA)
        classifier = load_model(folder)
    data = load_data("digits").subset(inputs, 0)
    import torch

    from certify.data.batch import Batch

    batch = Batch.of(torch.from_numpy(data.x), data.y, data.num_classes)
    sampler = Sampler(classifier, batch.x, batch.digests, Gaussian(SIGMA), seed=0)
    theorem = Theorem(Gaussian(SIGMA), "l2", dimensions=batch.x[0].numel())
    ways: dict[str, dict[str, Any]] = {
        "draws, one-sided (Cohen et al.)": {"chosen_by": "draws"},
        "draws, runner-up": {"chosen_by": "draws", "rival_share": RIVAL_SHARE},
        "votes, one-sided": {"chosen_by": "votes"},
        "label, one-sided": {"chosen_by": "label"},
        "label, runner-up": {"chosen_by": "label", "rival_share": RIVAL_SHARE},
    }
    radii, rows = (0.0, 0.25, 0.5, 0.75), []
    for n in track(sizes, console=console, description="counting votes"):
        recorded = Recorded(
            {
                stage: sampler.count(stage, [Ballot(row, 0, size) for row in range(len(sampler))])
                for stage, size in (("selection", N0), ("estimation", n))
            }
        )
        looks = Schedule(n, ALPHA, "fixed").looks_for(theorem, 0.0)
        for way, settings in ways.items():
            labels = batch.labels if settings["chosen_by"] == "label" else None
            results = certify_votes(recorded, theorem, looks, (0.0,), n0=N0, labels=labels, **settings)
            outcome = Outcome.of(results, data.y)
            shares = [f"{100 * share:.1f}" for share in outcome.certified(radii)]
            rows.append([f"{n:,}", way, *shares, f"{np.maximum(outcome.radius, 0.0).mean():.4f}"])
    return rows


def plot(p: Floats, file: Path) -> None:
    """Samples of each input over the probability of its label."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    radii = DECLARED[-1]
    samples = run(p, radii, "declared", "label", 0).samples
    order = np.argsort(p)
    _scatter(axes, p[order], samples[order])
    for radius in radii:
        needed = 1.0 - THEOREM.most_missed(radius)
        axes.axvline(special.ndtri(needed), linestyle=":", color="gray")
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "color": "dimgray"}
        axes.text(special.ndtri(needed), 1.01, f"{radius:g}", **place)
    axes.axhline(N, linestyle="--", color="tab:orange", label=f"fixed: {N:,} for every input")
    axes.axhline(samples.mean(), color="tab:blue", label=f"declared radii: {samples.mean():,.0f} on average")
    axes.set_title("declared radii, where the label's probability proves them:", fontsize=10, pad=18)
    axes.legend(loc="lower left")
    figure.savefig(file, dpi=110)


def _scatter(axes: Axes, p: Floats, samples: Floats) -> None:
    ticks = np.array([0.1, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999])
    axes.scatter(special.ndtri(np.clip(p, 0.02, 1 - 2e-5)), samples, s=3, alpha=0.25, color="tab:blue", linewidths=0)
    axes.set_xticks(special.ndtri(ticks), [f"{tick:g}" for tick in ticks])
    axes.set_yscale("log")
    axes.set_xlabel("probability of the label under the noise")
    axes.set_ylabel("samples used")


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Make the tables and the plot."""
    data = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data"))
    log = data / "published_logs/cohen_cifar10/sigma_0.25.tsv.gz"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=log, help="certification log of sigma 0.25")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions with other draws")
    parser.add_argument("--inputs", type=int, default=300, help="digits of the second table; 0 leaves it out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], help="samples of the second table")
    parser.add_argument("--out", type=Path, help="also write the tables to this Markdown file")
    parser.add_argument("--plot", type=Path, help="also draw samples over probability to this file")
    options = parser.parse_args()
    console, begin = Console(stderr=True), time.perf_counter()
    p = probabilities(options.log)
    samples = markdown(
        ["declared radii", "mode", "mean samples", "times fewer", "lost, pp", "fixed n, %", "genie", "times the genie"],
        samples_table(p, options.rounds, console),
    )
    parts = [
        "# Samples for declared radii",
        "    python benchmarks/samples.py " + " ".join(sys.argv[1:]),
        f"{len(p):,} inputs, {options.rounds} rounds, alpha={ALPHA:g}; against fixed n={N:,} in the same mode. "
        "What the log leaves open is put where it costs most (see the script). The genie knows every probability.",
        samples,
        "## The whole curve",
        "The same inputs, label mode: the most that is lost at any of the radii 0, 0.01, .. 0.85, declared or not.",
        markdown(["schedule", "mean samples", "most lost, pp", "mean radius"], curve_table(p, console)),
    ]
    if options.inputs:
        table = options_table(options.inputs, options.sizes, console)
        headings = ["n", "class and bound", "r=0", "r=0.25", "r=0.5", "r=0.75", "mean radius"]
        parts += [
            "## Naming the class and bounding the runner-up, on real votes",
            f"{options.inputs} digits, the demonstration's network, sigma {SIGMA:g}, alpha {ALPHA:g}: certified "
            "accuracy in %, all ways on the same votes.",
            markdown(headings, table),
        ]
    if options.plot:
        plot(p, options.plot)
    text = "\n\n".join(parts)
    print(text)
    console.print(f"{time.perf_counter() - begin:.0f} s")
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
