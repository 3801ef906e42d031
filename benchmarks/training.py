"""Train, certify, attack, check and report the studies in results/training, and write the page that compares them.

    python benchmarks/training.py --work runs/training                       # all: some hours on one core
    python benchmarks/training.py --work runs/training mnist5k-l2-noise      # one; the page holds what there is

Each study is one command by itself, `certify run results/training/NAME.toml --out runs/training/NAME`, which trains its
seeds first; whatever is done is not done again. Beside the page stand, for each seed, the certificates as Parquet and
the manifest of their run, which `certify check` found nothing wrong with, neither in the run folder nor in the files;
and for each study its LaTeX table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from training_tables import HERE, lines_of, write_page

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
            file = HERE / f"{study.stem}-{run.name}.parquet"
            certify("export", run, "--format", "parquet", "--out", file)
            certify("check", file)  # by the model and the data that the manifest beside it names
        (HERE / f"{study.stem}.tex").write_text(certify("summary", out, "--format", "latex"))
    write_page(lines_of(asked.work, lambda out: certify("summary", out, "--format", "json")))


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


if __name__ == "__main__":
    main()
