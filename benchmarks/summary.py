"""How long a summary of many certificates takes, and how much memory: from a run folder, and from objects in memory.

    python benchmarks/summary.py --inputs 1000000 --out results/summary.md      # two minutes, most to make the data
    python benchmarks/summary.py --inputs 10000000 --attacked                   # 25 GB of disk, a quarter of an hour

The certificates are synthetic: made-up counts under one schedule, the radius that belongs to them, as certify run would
have stored them. Each way runs in a process of its own. From a folder, seconds are the whole command's, imports
included; of objects in memory, those of the summary alone. Memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from certify.core.certificate import Certificate, Look, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.core.whole import write_whole
from certify.smoothing.noise.gaussian import Gaussian
from certify.stats.binomial import clopper_pearson_upper
from certify.store.run_folder import STORE, Manifest, RunFolder

N, SIGMA, ALPHA = 100_000, 0.25, 0.001
OBJECTS: Final = 1_000_000
"""More objects than these are not made: they would take tens of GB."""

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
            *("gaussian", 784, "label", None, (look,), (), q_upper, q_upper, 0.0, 0.0, 0.0),
            *(noise.assumption, 1, 128, "torch-2.13.0-cpu", SIGMA),
        )
        made.append((radius, evidence))
    return made


def certificate(index: int, radius: float | None, evidence: SmoothingEvidence) -> Certificate:
    """One about an input, labelled with the class that most votes went to."""
    return Certificate(
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


def finding(index: int) -> Finding:
    """An attack on the smoothed model that found nothing, about the same input."""
    return Finding(
        index=index,
        input_digest=f"{index:064x}",
        label=3,
        prediction=3,
        norm="l2",
        radii=THREAT.radii,
        attack="pgd",
        settings={"steps": 20, "noise": "gaussian", "sigma": SIGMA, "alpha": ALPHA},
        seed=0,
        model_digest="ab" * 32,
    )


def certificates(count: int) -> Iterator[Certificate]:
    """Synthetic certificates of different inputs."""
    choose, made = random.Random(0), evidences()
    for index in range(count):
        yield certificate(index, *made[choose.randrange(len(made))])


def texts(of: Callable[[int], Certificate | Finding]) -> Callable[[int], str]:
    """The text of a record about any input, of which only the position and the digest differ."""
    index = 987_654_321
    begin, between, end = re.split(f"{index:064x}|{index}", json.dumps(of(index).to_dict()))
    return lambda index: f"{begin}{index}{between}{index:064x}{end}"


def make_run(folder: Path, count: int, attacked: bool) -> None:
    """A run folder that holds them: rows as the store writes them, without ten million objects on the way."""
    settings = {
        "model": {"name": "synthetic", "digest": "ab" * 32},
        "data": {"name": "synthetic", "digest": "", "inputs": count, "of": count},
        "threat": THREAT.to_dict(),
        "certifiers": [],
        "attack": None if not attacked else {"attack": "pgd"},
        "shard": [0, 1],
        "inputs": count,
    }
    manifest = Manifest(settings)
    with RunFolder.create(folder, manifest):
        pass
    choose = random.Random(0)
    of = [texts(partial(certificate, radius=radius, evidence=evidence)) for radius, evidence in evidences()]
    verdicts = [(Verdict.ABSTAIN if radius is None else Verdict.CERTIFIED).value for radius, _ in evidences()]
    kinds = ((index, choose.randrange(len(of))) for index in range(count))
    with closing(sqlite3.connect(folder / STORE)) as db, db:
        db.execute("PRAGMA journal_mode=OFF")  # nothing is lost if this is interrupted, and a log doubles the writing
        db.executemany(
            "INSERT INTO certificates VALUES (?, 'smoothing', ?, ?, ?)",
            ((index, manifest.digest, verdicts[kind], of[kind](index)) for index, kind in kinds),
        )
        if attacked:
            found = texts(finding)
            rows = ((index, manifest.digest, found(index)) for index in range(count))
            db.executemany("INSERT INTO findings VALUES (?, 'pgd', ?, ?)", rows)


FROM_FOLDER: Final = """
from certify.cli import main
try:
    main(["summary", sys.argv[1], "--format", "json"])
finally:
    say()
"""

IN_MEMORY: Final = """
sys.path.insert(0, sys.argv[1])
from summary import certificates
import certify
made = list(certificates(int(sys.argv[2])))
begin, used = time.perf_counter(), time.process_time()
certify.summarize(made)
say()
"""

SAY: Final = """
import re, sys, time
from pathlib import Path
begin, used = time.perf_counter(), time.process_time()
def say():
    [kilobytes] = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    peak = int(kilobytes) / 1e6
    sys.stderr.write(f"{time.perf_counter() - begin:.1f} | {time.process_time() - used:.1f} | {peak:.2f}")
"""


def measured(script: str, *arguments: str) -> tuple[str, str]:
    """Seconds by the clock, of the processor, and peak memory in GB, as cells of a table; and what it printed.

    The peak is Linux's own word: getrusage would count the process that started this one as well.
    """
    done = subprocess.run([sys.executable, "-c", SAY + script, *arguments], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1], done.stdout


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--attacked", action="store_true", help="a finding for each input beside its certificate")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        make_run(run, asked.inputs, asked.attacked)
        size = (run / "run.sqlite").stat().st_size / 1e9
        from_folder, text = measured(FROM_FOLDER, str(run))
    row = json.loads(text)["rows"][2]
    lines = [
        f"# Summary of {asked.inputs:,} certificates",
        "",
        f"`python benchmarks/summary.py --inputs {asked.inputs}{' --attacked' * asked.attacked}`: synthetic "
        f"certificates{', each with a finding' * asked.attacked}, a store of {size:.2f} GB. At "
        f"radius {row['radius']} a share of {row['certified']} is certified, {row['certified_lower']} with confidence.",
        "",
        "| from | seconds by the clock | of the processor | peak memory, GB |",
        "|---|---|---|---|",
        f"| a run folder: `certify summary RUN --format json` | {from_folder} |",
    ]
    if asked.inputs <= OBJECTS:
        in_memory, _ = measured(IN_MEMORY, str(Path(__file__).parent), str(asked.inputs))
        lines.append(f"| objects in memory: `certify.summarize` | {in_memory} |")
    print("\n".join(lines))
    if asked.out is not None:
        write_whole(asked.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
