"""What bounds cost and how tight they are, beside the figures of auto_LiRPA on the same networks, images and boxes.

    python benchmarks/bounds.py --out results/bounds.md         # ten minutes of one core; --quick: the targets, in two
    python benchmarks/bounds.py --only resnet2b --journal rows.jsonl
    python benchmarks/bounds.py --public --rival ../auto_LiRPA --out results/public_bounds.md

Every row is measured in a process of its own, on one thread, in CPU seconds: medians of several calls. Each process
also multiplies matrices of 1024 x 1024, and the reference's seconds are scaled by what its machine reached in that and
what this one reaches at that moment. With a journal, an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from networks import Reference
    from torch import Tensor

    from certify.core.evidence import Claim

FOLDER: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data"))
TABLE: Final = FOLDER / "bound_reference/README.md"
REFERENCE_GFLOPS: Final = 77.0
"""The machine of the reference, float32: the middle of the 66 to 88 that its table states."""

TARGETS: Final = {
    ("mlp256x2", 32, "CROWN", "0.02"): 1.8,
    ("kw_mnist", 32, "CROWN", "0.1"): 4.0,
    ("cifar_cnn_a_mix", 32, "CROWN", "0.0078431"): 4.0,
    ("resnet2b", 32, "CROWN", "0.0039216"): 4.0,
    ("mlp256x2", 1, "alpha", "0.02"): 4.0,
    ("kw_mnist", 1, "alpha", "0.1"): 4.0,
    ("cifar_cnn_a_mix", 1, "alpha", "0.0078431"): 4.0,
    ("resnet2b", 1, "alpha", "0.0039216"): 4.0,
}
"""How many times faster than the reference these should be."""

MEMORY: Final = 1000
"""What the peak of resident memory should stay below, in MB."""

PROFILED: Final = ("resnet2b", 32, "CROWN", "0.0039216")

SIZE: Final = 1024
"""Height and width of the matrices that tell how fast a machine is."""

CALLS: Final = (3, 20)
ENOUGH: Final = 1.0
"""A median is over so many calls, at least and at most; in between they stop when they took so many seconds."""

NOTES: Final = """CPU seconds of one core, medians. `search`: float32 without error terms, which is what the reference
computes; `claim`: float64 with error terms subtracted, for alpha with the search that it needs. `reference, scaled`:
its CPU seconds times {gflops:g} / (GFLOP/s of this machine in the row's own process); `faster`: that over ours.
`floor`: the operations of the matrix products and convolutions that our search executes, as torch.utils.flop_counter
counts them (unstable rows only; gradients of alpha's search included), at the speed of a product of {size} x {size}
matrices; `x floor`: the search over that. `peak`: resident memory of the whole process, in brackets its growth over
the imports and the network; `reference, MB`: the same for the reference's process. Margins are means over the images
of the smallest of nine rows, as searched; `verified`: images whose margins are proven positive, for us by the claim, of
all in the batch, misclassified ones included."""

WHY: Final = """A clock around each operator charges small ones most: these are shares of operators' time, not of the
search's. Matrix products take a sixth of it or so. The rest is memory traffic: windows of rows are folded into images
and gathered from them (col2im, clone, constant_pad_nd, index_select, index, unfold), and the planes of every neuron are
multiplied into the coefficients of every row's window (mul, add, sub), a pass over memory for each of few operations
per number. Rows of 3 x 3 convolutions meet several nonlinear layers on their way back, each with windows of its own,
and chunks are kept small for the sake of cache and memory: hence the many calls, each of which costs some microseconds
before it does anything.

alpha-CROWN on mlp256x2 at batch 1 stays below its target. One of its 21 evaluations takes 3.2 ms, of which the matrix
products of 134 rows, forth and back, need 1.2 ms. The rest is passes over 134 x 784 coefficients and their gradients
(sizes, signs, two weighted sums) and Adam's. Sixteen iterations instead of 20 take a tenth off and keep the margin, but
on kw_mnist at batch 32 the mean then falls short of the reference's by 0.0003."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the reference's table: CPU seconds and MB are its own."""

    network: str
    batch: int
    method: str
    eps: str
    seconds: float
    mb: float

    @property
    def file(self) -> Path:
        """Its bounds."""
        return TABLE.parent / f"{self.network}_b{self.batch}_{self.method}_eps{float(self.eps):.5f}.npz"

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What tells rows apart."""
        return self.network, self.batch, self.method, self.eps


def reference_rows() -> Iterator[Row]:
    """The lines of the table that have bounds."""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 10 and cells[1].isdigit() and cells[4] != "timeout":
            network, batch, method, eps, seconds, _, peak, *_ = cells
            yield Row(network, int(batch), method, eps, float(seconds), float(peak.split()[0]))


def peak_mb() -> float:
    """Largest resident memory of this process so far (Linux counts it in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def timed(call: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Median CPU seconds over several calls, and their result. The first warms up; a long one counts all the same."""
    taken: list[float] = []
    while True:
        begin = time.process_time()
        result = call()
        taken.append(time.process_time() - begin)
        counted = taken if taken[0] >= ENOUGH else taken[1:]
        if len(counted) >= CALLS[0] and (sum(counted) >= ENOUGH or len(counted) >= CALLS[1]):
            return median(counted), result


def gflops(dtype: torch.dtype) -> float:
    """The best of several products of two matrices."""
    import torch

    a, best = torch.ones(SIZE, SIZE, dtype=dtype), math.inf
    for _ in range(6):
        begin = time.process_time()
        _ = a @ a
        best = min(best, time.process_time() - begin)
    return 2 * SIZE**3 / best / 1e9


def prepared(row: Row) -> tuple[Reference, dict[Claim | None, Callable[[], Tensor]]]:
    """What a row is compared with; and its search and its claim, on one thread, as calls that take nothing."""
    from certify.process import tune_process

    tune_process()
    import torch
    from networks import METHODS as OURS
    from networks import Reference, graph

    from certify.bounds.methods import METHODS

    torch.set_num_threads(1)
    one, method, network = Reference.read(row.file), METHODS[OURS[row.method]], graph(row.network)

    def bounds(dtype: torch.dtype, claim: Claim | None) -> Callable[[], Tensor]:
        net, region, C = network.to(dtype), one.region(dtype), one.C(dtype)
        return lambda: method(net, region, C, claim=claim).lower.amin(dim=1)

    return one, {None: bounds(torch.float32, None), "exact": bounds(torch.float64, "exact")}


def measure(row: Row) -> dict[str, Any]:
    """Everything about a row, in this process."""
    one, calls = prepared(row)
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    speed = {"gflops": gflops(torch.float32), "gflops64": gflops(torch.float64)}
    before = peak_mb()
    search, margins = timed(calls[None])
    claim, claimed = timed(calls["exact"])
    peak, theirs = peak_mb(), one.lower.min(axis=1)
    with FlopCounterMode(display=False) as counter:
        calls[None]()
    return {
        **speed,
        **{"search": search, "claim": claim, "mb": peak, "growth": peak - before},
        "gflop": counter.get_total_flops() / 1e9,
        "margins": [float(margins.double().mean()), float(theirs.mean())],
        "verified": [int((claimed > 0).sum()), int((theirs > 0).sum())],
    }


def profile(row: Row) -> list[tuple[str, int, float]]:
    """The operators that take most CPU time of a search, with calls and seconds; then all together."""
    _, calls = prepared(row)
    from torch.utils._python_dispatch import TorchDispatchMode

    taken: dict[str, list[float]] = defaultdict(list)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            begin = time.process_time()
            result = func(*args, **(kwargs or {}))
            taken[func.overloadpacket.__name__].append(time.process_time() - begin)
            return result

    calls[None]()
    with Watch():
        calls[None]()
    operators = [(name, len(each), sum(each)) for name, each in taken.items()]
    operators.sort(key=lambda operator: -operator[2])
    return [*operators[:14], ("all", sum(many for _, many, _ in operators), sum(s for *_, s in operators))]


def fresh(job: str, row: Row) -> Any:
    """The result of a job in a process of its own. Its peak memory includes ours, so torch is never imported here."""
    command = [sys.executable, __file__, "--job", job, json.dumps(asdict(row))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(rows: list[Row], journal: Path | None) -> dict[Row, dict[str, Any]]:
    """Measure what the journal does not hold."""
    known = {}
    if journal is not None and journal.exists():
        known = {Row(**entry["row"]): entry["found"] for entry in map(json.loads, journal.open(encoding="utf-8"))}
    for row in rows:
        if row not in known:
            known[row] = fresh("measure", row)
            print(row.file.stem, f"{known[row]['search']:.4f} s", file=sys.stderr, flush=True)
            if journal is not None:
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"row": asdict(row), "found": known[row]}) + "\n")
    return {row: known[row] for row in rows}


def faster(row: Row, found: dict[str, Any], stage: str = "search") -> float:
    """The reference's seconds at this machine's speed, over ours."""
    return row.seconds * REFERENCE_GFLOPS / found["gflops"] / found[stage]


def table(headings: str, lines: list[list[str]]) -> str:
    """A Markdown table; columns hold numbers, except those whose heading begins with a dot."""
    names = [name.strip() for name in headings.split("|")]
    rule = ["---" if name.startswith(".") else "---:" for name in names]
    return "\n".join("| " + " | ".join(line) + " |" for line in [[name.strip(".") for name in names], rule, *lines])


def row_table(found: dict[Row, dict[str, Any]]) -> str:
    """Time, memory and tightness of every row."""
    lines = []
    for row, one in found.items():
        cells = [row.network, str(row.batch), row.method, row.eps]
        scaled = row.seconds * REFERENCE_GFLOPS / one["gflops"]
        cells += [f"{seconds:.4f}" for seconds in (one["search"], one["claim"], scaled)]
        cells += [f"{faster(row, one):.1f}", f"{faster(row, one, 'claim'):.1f}"]
        cells += [f"{one['gflop']:.3g}", f"{one['search'] * one['gflops'] / one['gflop']:.1f}"]
        cells += [f"{one['mb']:.0f} (+{one['growth']:.0f})", f"{row.mb:.0f}"]
        lines.append(cells + [f"{margin:.4f}" for margin in one["margins"]] + list(map(str, one["verified"])))
    return table(
        ".network | batch | .method | eps | search, s | claim, s | reference, scaled, s | faster: search | claim "
        "| GFLOP | x floor | peak, MB | reference, MB | margin | reference | verified | reference",
        lines,
    )


def target_table(found: dict[Row, dict[str, Any]]) -> str:
    """The rows that have a target, and the largest memory."""
    lines = []
    for row, one in found.items():
        if (wanted := TARGETS.get(row.key)) is not None:
            ratio = faster(row, one)
            name = f"{row.method}, {row.network}, batch {row.batch}: times faster"
            lines.append([name, f"{wanted:g}", f"{ratio:.2f}", "yes" if ratio >= wanted else "no"])
    most = max(one["mb"] for one in found.values())
    lines.append(["largest peak memory, MB", f"{MEMORY}", f"{most:.0f}", "yes" if most < MEMORY else "no"])
    return table(".what | target | measured | .met", lines)


def machine(found: dict[Row, dict[str, Any]]) -> str:
    """What it ran on, and how fast that was."""
    cpu = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    speeds = [
        f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f}) {dtype}"
        for dtype, name in (("float32", "gflops"), ("float64", "gflops64"))
        if (values := [one[name] for one in found.values()])
    ]
    where = (
        f"Python {platform.python_version()}, torch {version('torch')}, {cpu or platform.machine()}, {os.cpu_count()} "
        f"cores shared with other work (load {os.getloadavg()[2]:.1f}), one thread."
    )
    if not found:
        return where
    return f"{where} GFLOP/s of a matrix product, median (range) over the rows' processes: {', '.join(speeds)}."


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []


def profile_table(row: Row) -> str:
    """Where the time of one search goes."""
    operators = fresh("profile", row)
    total = operators[-1][2]
    lines = [[name, f"{calls:,}", f"{s:.3f}", f"{100 * s / total:.1f}"] for name, calls, s in operators]
    return table(".operator | calls | CPU, s | %", lines)


def main() -> None:
    """Print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NET", help="rows of this network; repeatable")
    parser.add_argument("--quick", action="store_true", help="only rows with a target, and no profile")
    parser.add_argument("--journal", type=Path, help="keep rows here as they are measured; skip those it has already")
    parser.add_argument("--out", type=Path, help="also write the tables to this Markdown file")
    parser.add_argument("--public", action="store_true", help="the public function, on architectures drawn by seed")
    parser.add_argument("--seeds", type=int, default=3, help="with --public: how many of each class")
    parser.add_argument("--first", type=int, default=1, help="with --public: the first seed")
    parser.add_argument("--rival", metavar="PATH", help="with --public: where auto_LiRPA is; beside us if given")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.public:
        from public_bounds import public

        if (text := public(options, table)) is not None:
            text = text.replace("\n\nBatches", f"\n\n{machine({})}\n\nBatches", 1)
            print(text)
            if options.out:
                options.out.write_text(text + "\n", encoding="utf-8")
        return
    if options.job:
        job, row = {"measure": measure, "profile": profile}[options.job[0]], Row(**json.loads(options.job[1]))
        print(json.dumps(job(row)))
        return
    begin, rows = time.perf_counter(), list(reference_rows())
    chosen = [row for row in rows if not options.only or row.network in options.only]
    if options.quick:
        chosen = [row for row in chosen if row.key in TARGETS]
    if not chosen:
        parser.error(f"no such rows; networks are {', '.join(dict.fromkeys(row.network for row in rows))}")
    found = measured(chosen, options.journal)
    parts = [
        "# Bounds: time, memory and tightness",
        "    python benchmarks/bounds.py" + " --quick" * options.quick + "".join(f" --only {n}" for n in options.only),
        machine(found),
        "## Targets",
        target_table(found),
        "## Every row of the reference",
        row_table(found),
        NOTES.format(gflops=REFERENCE_GFLOPS, size=SIZE),
    ]
    if not options.quick and (slow := next((row for row in chosen if row.key == PROFILED), None)) is not None:
        title = f"## Where the time goes: {slow.network}, {slow.method}, batch {slow.batch}"
        parts += [title, profile_table(slow), WHY]
    text = "\n\n".join(parts)
    print(text)
    print(f"{time.perf_counter() - begin:.0f} s", file=sys.stderr)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
