"""What became of verification instances, as tables beside other tools' measured figures."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from bounds import gflops, table
from instances import FOLDER, rows_of

SOLVED: Final = ("solved", "relabelled")

TARGETS: Final = {
    "acasxu": 60,
    "collins_rul_cnn": 9,
    "dist_shift": 11,
    "marabou-cifar10": 7,
    "mnist_fc": 24,
    "nn4sys": 5,
    "reach_prob_density": 9,
    "rl_benchmarks": 18,
    "safenlp": 20,
    "sri_resnet_a": 8,
    "tllverifybench": 4,
}
"""How many instances of a benchmark should be solved; of the others, as many as can be."""

RIVALS: Final = {
    "alpha-beta-CROWN": ("abcrown_cpu.csv", "verify_time_s"),
    "nnenum": ("nnenum_cpu.csv", "nnenum_runtime_s"),
}
"""Where other tools' measured runs are, and the column with their time without start-up."""

NOTES: Final = """`PAR-2`: the mean of the whole process's CPU seconds where it was solved, of twice the limit where it
was not. `process`: the whole process, start-up included; `deciding`: what came after the files were read, as CPU time
and on the wall, which other work on the machine stretches; medians and maxima over solved instances. `disputed`: unsat
where the label is sat, but no witness inside the exact box is known. A sat counts only with a witness that was replayed
here: inside the exact decimal box, with onnxruntime's float32 output, tolerance 0."""

PAIRED: Final = """Medians over the instances that both solved. The other tool's seconds are those of its own run on
another two-core machine, partly a busy one: ratios matter, and CPU time more than wall time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run. Seconds; empty strings where the process did not live to say."""

    benchmark: str
    onnx: str
    vnnlib: str
    expected: str
    limit: float
    claim: str
    answer: str
    counts_as: str
    why: str
    wall: float
    cpu: float
    mb: float
    start_up_cpu: float | str = ""
    reading_cpu: float | str = ""
    deciding_wall: float | str = ""
    deciding_cpu: float | str = ""
    solver: str = ""
    subproblems: int | str = ""

    @classmethod
    def read(cls, text: dict[str, str]) -> Row:
        """A row of the CSV file."""
        return cls(
            **{one.name: _number(text[one.name]) if "float" in one.type else text[one.name] for one in fields(cls)}
        )

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells runs apart."""
        return self.onnx, self.vnnlib, self.limit, self.claim

    @property
    def solved(self) -> bool:
        """Whether the answer counts."""
        return self.counts_as in SOLVED


def _number(text: str) -> float | str:
    return float(text) if text else ""


def benchmark_table(rows: Sequence[Row]) -> str:
    """What became of each benchmark."""
    lines = []
    for name, some in _by_benchmark(rows):
        target, solved = TARGETS.get(name), [row for row in some if row.solved]
        sat = sum(row.answer == "sat" for row in solved)
        counts = [
            sum(row.counts_as == kind for row in some) for kind in ("wrong", "disputed", "unknown", "timeout", "error")
        ]
        par2 = sum(row.cpu if row.solved else 2 * row.limit for row in some) / len(some)
        lines.append(
            [name, str(len(some)), f"{len(solved)} ({sat}/{len(solved) - sat})", "" if target is None else str(target)]
            + [*map(str, counts), f"{par2:.2f}", _middle([row.cpu for row in solved])]
            + [show(told(solved, f"deciding_{clock}")) for clock in ("cpu", "wall") for show in (_middle, _most)]
        )
    return table(
        ".benchmark | instances | solved (sat/unsat) | target | wrong | disputed | unknown | timeout | error "
        "| PAR-2, s | process, CPU s | deciding, CPU s | most, CPU s | deciding, s | most, s",
        lines,
    )


def paired_table(rows: Sequence[Row], rival: str) -> str:
    """The same instances, as another tool fared on them."""
    file, column = RIVALS[rival]
    theirs = {(row["onnx"], row["vnnlib"]): row for row in rows_of(FOLDER / "verification" / file)}
    lines = []
    for name, some in _by_benchmark([row for row in rows if (row.onnx, row.vnnlib) in theirs]):
        pairs = [(row, theirs[row.onnx, row.vnnlib]) for row in some]
        both = [(ours, other) for ours, other in pairs if ours.solved and other["agree"] == "yes"]
        counts = [sum(ours.solved for ours, _ in pairs), sum(other["agree"] == "yes" for _, other in pairs), len(both)]
        deciding = [float(other[column].split()[0]) for _, other in both if other[column]]
        ours_deciding = told([ours for ours, _ in both], "deciding_wall")
        cpu = [ours.cpu for ours, _ in both], [float(other["cpu_process_s"]) for _, other in both]
        medians = map(_middle, (ours_deciding, deciding, *cpu))
        lines.append([name, str(len(some)), *map(str, counts), *medians])
    return table(
        f".benchmark | instances | solved | solved by {rival} | by both | deciding, s | {rival}, s | process, CPU s "
        f"| {rival}, CPU s",
        lines,
    )


def _by_benchmark(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for name in dict.fromkeys(row.benchmark for row in rows):
        yield name, [row for row in rows if row.benchmark == name]


def told(rows: Sequence[Row], part: str) -> list[float]:
    """A part's seconds, of processes that lived to say."""
    return [seconds for row in rows if (seconds := getattr(row, part)) != ""]


def _middle(values: Sequence[Any]) -> str:
    return f"{median(values):.3g}" if values else "-"


def _most(values: Sequence[Any]) -> str:
    return f"{max(values):.3g}" if values else "-"


def unsolved_list(rows: Sequence[Row]) -> str:
    """Every instance that was not solved, and why as far as it was said."""
    left = [row for row in rows if not row.solved]
    lines = [f"* {row.onnx} {row.vnnlib} ({row.expected}): {row.counts_as}; {row.why}".rstrip("; ") for row in left]
    return "\n".join(lines) or "None."


def report(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The whole page."""
    import torch

    wrong, speed = sum(row.counts_as == "wrong" for row in rows), gflops(torch.float32)
    parts = [
        "# Verification: solved, wrong, and how fast",
        "    python benchmarks/verification.py " + " ".join(arguments),
        f"Python {platform.python_version()}, torch {version('torch')}, {_cpu()}, one core for each process; a product "
        f"of matrices reached {speed:.0f} GFLOP/s in float32 at the end. "
        f"Limit {rows[0].limit:g} s, claim {rows[0].claim}.",
        f"**{sum(row.solved for row in rows)} of {len(rows)} solved, {wrong} wrong.**",
        benchmark_table(rows),
        NOTES,
    ]
    for rival, (file, _) in RIVALS.items():
        known = {(row["onnx"], row["vnnlib"]) for row in rows_of(FOLDER / "verification" / file)}
        if any((row.onnx, row.vnnlib) in known for row in rows):
            parts += [f"## The instances that {rival} was measured on", paired_table(rows, rival), PAIRED]
    return "\n\n".join([*parts, "## Not solved", unsolved_list(rows)]) + "\n"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
