"""How long a summary of many certificates takes, and how much memory: from a run folder, and from objects in memory.

    python benchmarks/summary.py --inputs 1000000 --out results/summary.md      # two minutes, most to make the data

The certificates are synthetic: made-up counts under one schedule, the radius that belongs to them, as certify run would
have stored them. Each way runs in a process of its own. From a folder, seconds are the whole process's, start-up
included; of objects in memory, those of the summary alone. Memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from certify.core.certificate import Certificate, Look, SmoothingEvidence
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.core.whole import write_whole
from certify.smoothing.noise.gaussian import Gaussian
from certify.stats.binomial import clopper_pearson_upper
from certify.store.run_folder import Manifest, RunFolder

N, SIGMA, ALPHA = 100_000, 0.25, 0.001
THREAT: Final = ThreatModel("l2", (0.0, 0.25, 0.5, 0.75), (0.0, 1.0))


def evidences() -> list[tuple[float | None, SmoothingEvidence]]:
    """A thousand different counts with their radii; certificates draw from them, inputs stay different."""
    noise, made = Gaussian(SIGMA), []
    for step in range(1000):
        misses = step * 60
        q_upper = clopper_pearson_upper(misses, N, ALPHA)
        radius = noise.radius(q_upper, q_upper, "l2") if q_upper < 0.5 else None
        look = Look(N, {3: N - misses, 5: misses}, ALPHA)
        evidence = SmoothingEvidence(
            *("gaussian", SIGMA, 784, "label", None, (look,), (), q_upper, q_upper, 0.0, 0.0, 0.0),
            *(noise.assumption, 1, 128, "torch-2.13.0-cpu"),
        )
        made.append((radius, evidence))
    return made


def certificates(count: int) -> Iterator[Certificate]:
    """Synthetic certificates of different inputs, labelled with the class that most votes went to."""
    choose, made = random.Random(0), evidences()
    for index in range(count):
        radius, evidence = made[choose.randrange(len(made))]
        yield Certificate(
            index=index,
            input_digest=f"{index:064x}",
            label=3,
            prediction=3,
            verdict=Verdict.ABSTAIN if radius is None else Verdict.CERTIFIED,
            radius=radius,
            threat=THREAT,
            guarantee=Guarantee.probabilistic(ALPHA),
            method="smoothing",
            evidence=evidence,
            model_digest="ab" * 32,
            seconds=1.0,
            forward_passes=N,
        )


def make_run(folder: Path, count: int) -> None:
    """A run folder that holds them."""
    settings = {
        "model": {"name": "synthetic", "digest": "ab" * 32},
        "data": {"name": "synthetic", "digest": "", "inputs": count, "of": count},
        "threat": THREAT.to_dict(),
        "certifiers": [],
        "attack": None,
        "shard": [0, 1],
        "inputs": count,
    }
    with RunFolder.create(folder, Manifest(settings)) as run:
        run.records.add(certificates(count))


FROM_FOLDER: Final = """
import sys
from certify.cli import main
sys.exit(main(["summary", sys.argv[1], "--format", "json"]))
"""

IN_MEMORY: Final = """
import sys, time
sys.path.insert(0, sys.argv[1])
from summary import certificates
import certify
made = list(certificates(int(sys.argv[2])))
begin = time.perf_counter()
certify.summarize(made)
print(time.perf_counter() - begin)
"""


PEAK: Final = """
import atexit, resource, sys
atexit.register(lambda: sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)))
"""


def measured(script: str, *arguments: str) -> tuple[float, float, str]:
    """Seconds, peak memory in GB, and what it printed."""
    peak = "\nimport resource, atexit\n"
    peak += (
        "def _say(): sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\natexit.register(_say)\n"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys{peak}{script}", *arguments], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - begin, int(done.stderr.split()[-1]) / 1e6, done.stdout


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        make_run(run, asked.inputs)
        size = (run / "run.sqlite").stat().st_size / 1e9
        from_folder, folder_memory, text = measured(FROM_FOLDER, str(run))
    _, objects_memory, said = measured(IN_MEMORY, str(Path(__file__).parent), str(asked.inputs))
    row = json.loads(text)["rows"][2]
    lines = [
        f"# Summary of {asked.inputs:,} certificates",
        "",
        f"`python benchmarks/summary.py --inputs {asked.inputs}`: synthetic certificates, a store of {size:.2f} GB. At "
        f"radius {row['radius']} a share of {row['certified']} is certified, {row['certified_lower']} with confidence.",
        "",
        "| from | seconds | peak memory, GB |",
        "|---|---|---|",
        f"| a run folder: `certify summary RUN --format json` | {from_folder:.1f} | {folder_memory:.2f} |",
        f"| objects in memory: `certify.summarize` | {float(said):.1f} | {objects_memory:.2f} |",
    ]
    print("\n".join(lines))
    if asked.out is not None:
        write_whole(asked.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
