"""What a run adds to the computing of its certifier, and how memory and files grow with samples and inputs.

    python benchmarks/reach.py        # some minutes; start it with OMP_NUM_THREADS=1

The model is linear and takes about a microsecond a sample, so that what is not the model shows. Time: that of
the processor, of certify.smooth and of certify.evaluate with a run folder, on the same inputs in one process, in pairs;
medians. The time by the clock is the load's of a machine that others use.
Memory: the peak of a process of its own for each line, torch included. Files: those of the largest run.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch

import certify
from certify.cli import main as command

THREAT: Final = certify.ThreatModel("l2", (0.0, 0.25))
SETTINGS: Final = {"threat": THREAT, "sigma": 0.25, "schedule": "fixed", "seed": 0}
FEW: Final = 100
"""Samples an input where inputs are counted, and the smaller number of inputs of a pair."""


def problem(inputs: int) -> tuple[certify.Classifier, np.ndarray, np.ndarray]:
    """A linear model of 64 features, and inputs with the classes that it names."""
    torch.manual_seed(0)
    classifier = certify.Classifier(torch.nn.Linear(64, 10).eval(), 10)
    x = np.random.default_rng(0).random((inputs, 64), dtype=np.float32)
    return classifier, x, classifier.predict(torch.from_numpy(x)).numpy()


def added(pairs: int) -> tuple[float, float, float]:
    """Milliseconds of processor an input of the certifier and of a run, and the median of their ratios."""
    classifier, x, y = problem(5 * FEW)

    def certifier(inputs: int) -> None:
        certify.smooth(classifier, x[:inputs], y[:inputs], n=FEW, **SETTINGS)

    def whole(inputs: int) -> None:
        with tempfile.TemporaryDirectory() as out:
            certify.evaluate(classifier, (x[:inputs], y[:inputs]), n=FEW, out=Path(out) / "run", **SETTINGS)

    def an_input(of: Callable[[int], None]) -> float:
        """What 400 more inputs take, so that beginning and end do not count."""
        begin = time.process_time()
        of(FEW)
        middle = time.process_time()
        of(5 * FEW)
        return 1000 * (time.process_time() - middle - (middle - begin)) / (4 * FEW)

    whole(FEW)  # to warm up
    found = [(an_input(certifier), an_input(whole)) for _ in range(pairs)]
    alone, run = (statistics.median(times) for times in zip(*found, strict=True))
    return alone, run, statistics.median(run / alone for alone, run in found)


def run(n: int, inputs: int, out: Path) -> None:
    """One run, and then its peak in MB as a line: getrusage would count the process that started this one as well."""
    classifier, x, y = problem(inputs)
    certify.evaluate(classifier, (x, y), n=n, out=out, **SETTINGS)
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(kilobytes) / 1000)


def peak(n: int, inputs: int, out: Path) -> float:
    """MB that a process takes that makes such a run."""
    arguments = [sys.executable, __file__, "--run", str(n), str(inputs), str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def files(out: Path, inputs: int) -> list[str]:
    """Bytes a record of a run's files, and the size of its page."""
    made = {name: out.parent / f"records.{name}" for name in ("jsonl", "parquet", "csv")}
    for name, file in made.items():
        command(["export", str(out), "--format", name, "--out", str(file)])
    sizes = {"run.sqlite": out / "run.sqlite", **made}
    lines = [f"| {name} | {file.stat().st_size / inputs:,.0f} bytes a record |" for name, file in sizes.items()]
    page = out.parent / "page.html"
    command(["report", str(out), "--html", str(page)])
    return [*lines, f"| page | {page.stat().st_size / 1000:,.0f} kB in all |"]


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--inputs", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--n", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    asked = parser.parse_args()
    if asked.run:
        run(int(asked.run[0]), int(asked.run[1]), Path(asked.run[2]))
        return
    alone, whole, ratio = added(asked.pairs)
    print("| certify.smooth, ms an input | certify.evaluate, ms an input | ratio |", "|---|---|---|", sep="\n")
    print(f"| {alone:.2f} | {whole:.2f} | {ratio:.2f} |")
    print("\n| samples | inputs | peak, MB |", "|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for place, (n, inputs) in enumerate([*((n, 4) for n in asked.n), *((FEW, inputs) for inputs in asked.inputs)]):
            print(f"| {n:,} | {inputs:,} | {peak(n, inputs, out / str(place)):.0f} |", flush=True)
        print("\n| file | size |", "|---|---|", *files(out / str(place), inputs), sep="\n")


if __name__ == "__main__":
    main()
