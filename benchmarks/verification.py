"""How many verification instances are solved, how fast, and whether any answer is wrong; beside other tools' figures.

    python benchmarks/verification.py                         # all of data/verification: hours at the limit, at most
    python benchmarks/verification.py --benchmark acasxu,safenlp --limit 5 --jobs 2
    python benchmarks/verification.py --planted               # violated by construction: not one unsat

Each instance is one process of `certify verify`, bound to one core and one thread. Every answer is judged here
(benchmarks/instances.py): certify reads the property, all else is done without the code that found the answer. Rows are
kept in a CSV file as they come; the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from instances import Instance, instances, rows_of, verdict
from verification_tables import Row, report

CERTIFY: Final = Path(sys.executable).with_name("certify")

GRACE: Final = 10.0
"""Seconds after the limit at which a process is killed."""


def run(instance: Instance, limit: float, claim: str, core: int) -> Row:
    """One instance in a process of its own, on one core."""
    with tempfile.TemporaryDirectory() as folder:
        out, err, stats = (Path(folder, name) for name in ("out", "err", "stats"))
        command = [CERTIFY, "verify", *instance.files, "--timeout", f"{limit:g}", "--claim", claim, "--stats", stats]
        begin = time.perf_counter()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            child = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *map(str, command)],
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            killer = threading.Timer(limit + GRACE, child.kill)
            killer.start()
            _, status, usage = os.wait4(child.pid, 0)
            killer.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begin
        printed, complaint = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        told = json.loads(stats.read_text(encoding="utf-8")) if stats.exists() else {}
    counts_as, why = ("timeout", "answered late") if wall > limit else verdict(instance, printed)
    more = {}
    if told:
        seconds = told["seconds"]
        more = {f"{part}_cpu": seconds[part]["cpu"] for part in ("start_up", "reading", "deciding")}
        more |= {
            "deciding_wall": seconds["deciding"]["wall"],
            "solver": told["solver"],
            "subproblems": told["subproblems"],
        }
    return Row(
        **{name: value for name, value in asdict(instance).items() if name != "evidence"},
        **{"limit": limit, "claim": claim, "answer": printed.partition("\n")[0], "counts_as": counts_as},
        why=why or (complaint.strip().splitlines() or [""])[-1],
        **{"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss * 1024 / 1e6},
        **more,
    )


def measured(chosen: Sequence[Instance], options: argparse.Namespace) -> list[Row]:
    """Run what the CSV file does not hold yet, and add it there."""
    path: Path = options.rows
    keys = [(one.onnx, one.vnnlib, options.timeout, options.claim) for one in chosen]
    known = {row.key: row for row in map(Row.read, rows_of(path))} if path.exists() else {}
    if options.fresh:
        known = {key: row for key, row in known.items() if key not in keys}
    missing = [one for one, key in zip(chosen, keys, strict=True) if key not in known]
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: options.jobs]:
        cores.put(core)

    def one_run(instance: Instance) -> Row:
        core = cores.get()
        try:
            return run(instance, options.timeout, options.claim, core)
        finally:
            cores.put(core)

    with path.open("w", encoding="utf-8", newline="") as file, ThreadPoolExecutor(options.jobs) as pool:
        writer = csv.DictWriter(file, [one.name for one in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, known.values()))
        file.flush()
        for done, row in enumerate(pool.map(one_run, missing), 1):
            known[row.key] = row
            writer.writerow(asdict(row))
            file.flush()
            what = f"{row.benchmark} {Path(row.onnx).stem} {Path(row.vnnlib).name}: {row.answer} {row.wall:.1f} s"
            print(f"{done}/{len(missing)} {what}, {row.counts_as} {row.why}", file=sys.stderr, flush=True)
    return [known[key] for key in keys]


def main() -> None:
    """Run, judge, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", help="only these, separated by commas")
    parser.add_argument("--limit", type=int, help="only so many instances of each")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each instance (%(default)g)")
    parser.add_argument("--claim", default="exact", help="as of certify verify (%(default)s)")
    parser.add_argument("--planted", action="store_true", help="the planted instances instead")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, each on a core of its own")
    parser.add_argument("--fresh", action="store_true", help="measure again what the CSV file holds")
    parser.add_argument("--rows", type=Path, help="CSV file of all runs (results/verification.csv)")
    parser.add_argument("--out", type=Path, help="Markdown file (results/verification.md)")
    options = parser.parse_args()
    results, name = Path(__file__).parents[1] / "results", "planted" if options.planted else "verification"
    options.rows, out = options.rows or results / f"{name}.csv", options.out or results / f"{name}.md"
    every = list(instances(planted=options.planted))
    known = list(dict.fromkeys(one.benchmark for one in every))
    wanted = options.benchmark.split(",") if options.benchmark else known
    if not 1 <= options.jobs <= len(os.sched_getaffinity(0)) or not set(wanted) <= set(known):
        parser.error(f"benchmarks are {', '.join(known)}, and --jobs at most the number of cores")
    chosen = [one for name in wanted for one in [one for one in every if one.benchmark == name][: options.limit]]
    rows = measured(chosen, options)
    text = report(rows, sys.argv[1:])
    print(text)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
