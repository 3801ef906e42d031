"""Train, certify, attack, check and report the studies in results/training, and write the page that compares them.

    python benchmarks/training.py --work runs/training                       # all: some hours on one core
    python benchmarks/training.py --work runs/training mnist5k-l2-noise      # one; the page holds what there is

Each study is one command by itself, `certify run results/training/NAME.toml --out runs/training/NAME`, which trains its
seeds first; whatever is done is not done again. Beside the page stand, for each seed, the records as Parquet, written
from a run that `certify check` found nothing wrong with, and for each study its LaTeX table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent.parent / "results" / "training"

ABOUT = """Each line is one command,
`certify run results/training/NAME.toml --out runs/training/NAME`, which trains the seeds, certifies and attacks them;
`python benchmarks/training.py` runs all and writes this page. Beside it stand the records of each seed (Parquet),
from run folders in which `certify check` derived every claim again, and a LaTeX table for each line. Certified shares
are rounded down, attacked and clean ones up. Only what ran to its end is listed."""

CERTIFY = [sys.executable, "-c", "import certify.cli; raise SystemExit(certify.cli.main())"]


def main() -> None:
    """Carry out the studies that are named, and write the page about all that are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", help="names in results/training; all if none is given")
    parser.add_argument("--work", type=Path, default=Path("runs/training"), help="folder for models and runs")
    asked = parser.parse_args()
    for study in [HERE / f"{name}.toml" for name in asked.studies] or sorted(HERE.glob("*.toml")):
        out = asked.work / study.stem
        certify("run", study, "--out", out)
        for run in sorted(out.glob("seed-*")):
            certify("check", run)
            certify("export", run, "--format", "parquet", "--out", HERE / f"{study.stem}-{run.name}.parquet")
        (HERE / f"{study.stem}.tex").write_text(certify("summary", out, "--format", "latex"))
    write_page(asked.work)


def certify(*arguments: str | Path) -> str:
    """The output of a command; its progress goes to standard error. It must not fail."""
    begin = time.time()
    done = subprocess.run(
        [*CERTIFY, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"},
    )
    command = " ".join(["certify", *map(str, arguments)])
    print(f"{command}: {time.time() - begin:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
    if done.returncode not in (0, 3):  # 3: some input is undecided or failed, which the table says
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def write_page(work: Path) -> None:
    """A table for each data set and norm, and what each line was made with."""
    found: dict[str, list[tuple[str, dict[str, Any], dict[str, float]]]] = {}
    for study in sorted(HERE.glob("*.toml")):
        out = work / study.stem
        if not (HERE / f"{study.stem}.tex").is_file():  # it was not carried out here, or not to the end
            continue
        table = json.loads(certify("summary", out, "--format", "json"))["replicates"][0]
        cost = [json.loads(one.read_text())["cost"]["cpu_seconds"] for one in sorted(out.glob("model/*/training.json"))]
        setting, _, _ = study.stem.rpartition("-")
        found.setdefault(setting, []).append((study.stem, table, {"cost": sum(cost) / len(cost)}))
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}"
    begin = f"{made}, one thread a training, {time.strftime('%d %B %Y')}. {ABOUT}"
    lines = ["# Models trained by the recipes", "", begin, ""]
    for setting, studies in found.items():
        lines += [f"## {setting}", "", *_table(studies), ""]
        lines += [*studies[0][1]["statements"], ""]
    lines += ["## Digests", "", "| file | SHA-256 |", "|---|---|"]
    lines += [
        f"| {one.name} | `{hashlib.sha256(one.read_bytes()).hexdigest()}` |" for one in sorted(HERE.glob("*.parquet"))
    ]
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def _table(studies: list[tuple[str, dict[str, Any], dict[str, float]]]) -> list[str]:
    radii = [row["radius"] for row in studies[0][1]["rows"]]
    head = ["study", "seeds", "n", "clean %"]
    head += [f"certified % at {radius:g}" for radius in radii] + [f"attacked % at {radius:g}" for radius in radii]
    lines = ["| " + " | ".join([*head, "CPU s a model"]) + " |", "|---" * (len(head) + 1) + "|"]
    for name, table, cost in studies:
        cells = [f"`{name}`", str(len(table["runs"])), str(table["n"]), _share(table["clean"], up=True)]
        cells += [_share(row["certified"], up=False) for row in table["rows"]]
        cells += ["" if row["attacked"] is None else _share(row["attacked"], up=True) for row in table["rows"]]
        lines.append("| " + " | ".join([*cells, f"{cost['cost']:.0f}"]) + " |")
    return [*lines, "", "In brackets: the interval over seeds (95 %); see below."]


def _share(spread: dict[str, float | None], up: bool) -> str:
    """A mean over seeds in per cent, rounded to the sound side, with its interval."""
    thousandths = 1000 * float(spread["mean"] or 0)
    mean = (-(-thousandths // 1) if up else thousandths // 1) / 10
    if spread["lower"] is None or spread["upper"] is None:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({math.floor(100 * spread['lower'])} to {math.ceil(100 * spread['upper'])})"


if __name__ == "__main__":
    main()
