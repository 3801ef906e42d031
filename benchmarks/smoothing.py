"""How fast `certify.smooth` draws and classifies, beside the bare model, ART and a loop in the style of Cohen's code.

    python benchmarks/smoothing.py                 # twenty minutes on an idle machine; --quick: five minutes
    python benchmarks/smoothing.py --threads 1 --process plain --out results/smoothing_speed.md

Small networks and declared schedules are in `benchmarks/smoothing_small.py`.

Every figure comes from a fresh process, so that no contestant inherits the memory that another one freed, and the
contestants take turns, so that a busy minute of the machine hits all of them. Nothing is asserted: the tables are the
result. ART's line needs the extra `bench`. One thread is timed in CPU seconds, several in seconds: with as many threads
as cores and other work beside, OpenMP's waiting threads dominate every figure. Workers are timed in both.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from torch import Tensor, nn

SHAPE: Final = (3, 32, 32)
CLASSES: Final = 10
SIGMA: Final = 0.25
N0: Final = 100
BATCHES: Final = tuple(2**k for k in range(4, 12))
MEMORY_N: Final = (1_000, 10_000, 100_000)
CONTESTANTS: Final = {
    "bare": "bare model, inputs prepared, argmax included",
    "certify": "certify.smooth, schedule fixed",
    "cohen": "loop in the style of Cohen et al., batch 400",
    "art": "ART certify, its default batch 32",
}
WORKERS: Final = {
    "passes": "bare model, batch 32, channels_last",
    "run": "certify.evaluate, schedule fixed",
}
INPUTS: Final = 8
"""Inputs of a run, which workers share out one by one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement: who, on which network, with how many samples, in which kind of process."""

    contestant: str
    network: str
    n: int
    threads: int | None
    tuned: bool
    workers: int = 1


def network(name: str) -> nn.Module:
    """A network of the size that certification papers use, with weights from a seed; scores are (B, 10)."""
    import torch
    from torch import nn

    relu, conv = nn.ReLU(), nn.Conv2d
    if name == "strided":  # in the style of Wong and Kolter
        body = [conv(3, 32, 3, 1, 1), relu, conv(32, 32, 4, 2, 1), relu, conv(32, 64, 4, 2, 1), relu]
        features = 4096
    else:
        pool = nn.MaxPool2d(2)
        body = [conv(3, 16, 3, 1, 1), relu, conv(16, 16, 3, 1, 1), relu, pool]
        body += [conv(16, 32, 3, 1, 1), relu, conv(32, 32, 3, 1, 1), relu, pool]
        features = 2048
    net = nn.Sequential(*body, nn.Flatten(), nn.Linear(features, 128), relu, nn.Linear(128, CLASSES)).eval()
    generator = torch.Generator().manual_seed(0)
    for weight in net.requires_grad_(False).parameters():
        weight.normal_(0.0, weight[0].numel() ** -0.5, generator=generator)
    return net


def example() -> Tensor:
    """One input, (3, 32, 32) in [0, 1]."""
    import torch

    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))


def bare(net: nn.Module, n: int) -> tuple[float, str]:
    """Images a second at the best of all batch sizes and both layouts, over about ``n`` images; and where that was."""
    import torch

    def rate(place: tuple[int, str], images: int) -> float:
        batch, layout = place
        chosen = getattr(torch, layout)
        model = net.to(memory_format=chosen)  # type: ignore[call-overload]
        x = torch.rand((batch, *SHAPE)).contiguous(memory_format=chosen)
        passes = max(2, images // batch)
        with torch.inference_mode():
            model(x).argmax(1)
            begin = clock()
            for _ in range(passes):
                model(x).argmax(1)
        return passes * batch / (clock() - begin)

    # Downwards as well as upwards: what larger batches have freed can speed up the smaller ones.
    grid = list(itertools.product(BATCHES, ("contiguous_format", "channels_last")))
    tries = sorted(((rate(place, 2048), place) for place in [*grid, *reversed(grid)]), reverse=True)
    best = list(dict.fromkeys(place for _, place in tries))[:2]
    images, place = max((rate(place, n), place) for place in best)
    return images, f"batch {place[0]}, {place[1]}"


def clock() -> float:
    """Seconds: of the processor where there is one thread, which others on the machine do not slow down."""
    import torch

    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def spent() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def passes(net: nn.Module, n: int) -> dict[str, float]:
    """Images a second in the layout and batches in which smoothing asks, and CPU microseconds an image."""
    import torch

    model = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand((32, *SHAPE)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(x).argmax(1)
        begin, before = time.perf_counter(), time.process_time()
        for _ in range(n // 32):
            model(x).argmax(1)
        cpu = time.process_time() - before
    return {"rate": n / (time.perf_counter() - begin), "cpu": 1e6 * cpu / n}


def run(net: nn.Module, n: int, workers: int) -> dict[str, float]:
    """The same of the samples of a run of several inputs, from its call to its summary, its workers' start included."""
    from multiprocessing import forkserver

    import torch

    import certify

    classifier = certify.Classifier(net, num_classes=CLASSES)
    x = torch.rand((INPUTS, *SHAPE), generator=torch.Generator().manual_seed(2))
    data, threat = (x, classifier.predict(x).tolist()), certify.ThreatModel("l2", (0.0,))
    each, crew = n // INPUTS, {} if workers == 1 else {"workers": workers}
    samples, begin, before = INPUTS * (N0 + each), time.perf_counter(), spent()
    certify.evaluate(classifier, data, threat=threat, sigma=SIGMA, n=each, n0=N0, schedule="fixed", **crew)
    seconds = time.perf_counter() - begin
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # only then are its workers' seconds known here
    return {"rate": samples / seconds, "cpu": 1e6 * (spent() - before) / samples}


def smooth(net: nn.Module, n: int) -> None:
    """Our certificate of one input, end to end."""
    import certify

    threat = certify.ThreatModel("l2", (0.0,))
    classifier = certify.Classifier(net, num_classes=CLASSES)
    certify.smooth(classifier, example()[None], [0], threat=threat, sigma=SIGMA, n=n, n0=N0, schedule="fixed")


def cohen(net: nn.Module, n: int) -> None:
    """Both stages of CERTIFY (Cohen et al. 2019) as a plain loop over batches of 400, counted on the host."""
    import numpy as np
    import torch

    x = example()

    @torch.no_grad()
    def votes(samples: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        counts = np.zeros(CLASSES, dtype=np.int64)
        for first in range(0, samples, 400):
            batch = x.repeat((min(400, samples - first), 1, 1, 1))
            labels = net(batch + torch.randn_like(batch) * SIGMA).argmax(1)
            counts += np.bincount(labels.cpu().numpy(), minlength=CLASSES)
        return counts

    votes(N0)
    votes(n)


def art(net: nn.Module, n: int) -> None:
    """The certificate of the Adversarial Robustness Toolbox through its own method, with its default batch size."""
    from torch import nn

    module = importlib.import_module("art.estimators.certification.randomized_smoothing")
    smoothed = module.PyTorchRandomizedSmoothing(
        model=net,
        loss=nn.CrossEntropyLoss(),
        input_shape=SHAPE,
        nb_classes=CLASSES,
        device_type="cpu",
        sample_size=N0,
        scale=SIGMA,
    )
    smoothed.certify(example()[None].numpy(), n=n)


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB (Linux counts it in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def work(job: Job) -> dict[str, Any]:
    """Carry out one job in this process: samples a second, growth of peak memory in MiB, and a remark."""
    if job.tuned:
        from certify.process import tune_process

        tune_process()
    import torch

    if job.threads is not None:
        torch.set_num_threads(job.threads)
    net = network(job.network)
    used = {"threads": torch.get_num_threads(), "remark": ""}
    if job.contestant == "bare":
        rate, remark = bare(net, job.n)
        return {**used, "rate": rate, "remark": remark}
    if job.contestant == "passes":
        return {**used, **passes(net, job.n)}
    if job.contestant == "run":
        return {**used, **run(net, job.n, job.workers)}
    certificate: Callable[[nn.Module, int], None] = {"certify": smooth, "cohen": cohen, "art": art}[job.contestant]
    certificate(net, 400)
    before, begin = peak_mib(), clock()
    certificate(net, job.n)
    seconds = clock() - begin
    return {**used, "rate": (N0 + job.n) / seconds, "mib": peak_mib() - before}


def measure(job: Job, processes: int = 1) -> dict[str, Any]:
    """The result of a job in a fresh process, or the rates of several at once, added up.

    This process never imports torch: a child's peak memory includes ours.
    """
    command = [sys.executable, __file__, "--job", json.dumps(asdict(job))]
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    said = [one.communicate()[0] for one in begun]
    if any(one.returncode for one in begun):
        raise SystemExit(f"{job} failed")
    results: list[dict[str, Any]] = [json.loads(one.splitlines()[-1]) for one in said]
    cpu = sum(one.get("cpu", 0.0) for one in results) / processes
    return {**results[0], "rate": sum(one["rate"] for one in results), "cpu": cpu}


def speed_table(options: argparse.Namespace, threads: int | None, console: Console) -> Table:
    """Let the contestants take turns for all rounds; medians are over rounds, ratios within a round."""
    has_art = importlib.util.find_spec("art") is not None
    names = [name for name in CONTESTANTS if name != "art" or has_art]
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(options.rounds):
        result = {}
        for name in names:
            n = options.n if name in ("bare", "certify") else options.rival_n
            with console.status(f"round {len(rounds) + 1} of {options.rounds}: {CONTESTANTS[name]}"):
                result[name] = measure(Job(name, options.network, n, threads, is_tuned(options.process, name)))
        rounds.append(result)
    used = rounds[0]["bare"]["threads"]
    table = Table(title=f"{options.network} network, {used} thread{'s' * (used > 1)}, {options.process} process")
    for heading in (
        "",
        "samples",
        "best/s",
        "median/s",
        "of bare: best",
        "median",
        "certify is faster: best",
        "median",
    ):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")

    def rates(name: str) -> list[float]:
        return [result[name]["rate"] for result in rounds]

    def ratio(above: str, below: str) -> tuple[str, str]:
        within = [a / b for a, b in zip(rates(above), rates(below), strict=True)]
        return f"{max(rates(above)) / max(rates(below)):.2f}", f"{median(within):.2f}"

    for name in names:
        best = max((result[name] for result in rounds), key=lambda one: float(one["rate"]))
        label = CONTESTANTS[name] + (f": {best['remark']}" if best["remark"] else "")
        samples = options.n if name in ("bare", "certify") else options.rival_n
        speeds = f"{best['rate']:,.0f}", f"{median(rates(name)):,.0f}"
        table.add_row(label, f"{samples:,}", *speeds, *ratio(name, "bare"), *ratio("certify", name))
    if not has_art:
        table.caption = "ART is not installed: pip install -c constraints.txt -e '.[bench]' adds its line"
    return table


def workers_table(options: argparse.Namespace, console: Console) -> Table:
    """One worker and two, of one thread each, beside one and two processes that do nothing but forward passes."""
    table = Table(title=f"{options.network} network, one thread a process: one worker and two")
    headings = ("", "samples", "one: best/s", "two: best/s", "two for one: best", "median")
    for heading in (*headings, "one: CPU µs", "two: CPU µs", "on free cores"):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    found: dict[tuple[str, int], list[dict[str, Any]]] = {(name, many): [] for name in WORKERS for many in (1, 2)}
    for turn in range(options.rounds):
        for (name, many), measured in found.items():
            with console.status(f"round {turn + 1} of {options.rounds}: {WORKERS[name]}, {many}"):
                if name == "passes":  # as many in each process, so that both work all the time
                    measured.append(measure(Job(name, options.network, options.n, 1, True), processes=many))
                else:
                    measured.append(measure(Job(name, options.network, 2 * options.n, 1, True, many)))
    for name, words in WORKERS.items():
        one, two = ([result["rate"] for result in found[name, many]] for many in (1, 2))
        cpu, shared = (min(result["cpu"] for result in found[name, many]) for many in (1, 2))
        samples = options.n if name == "passes" else 2 * options.n
        gain = median(b / a for a, b in zip(one, two, strict=True))
        cells = f"{max(one):,.0f}", f"{max(two):,.0f}", f"{max(two) / max(one):.2f}", f"{gain:.2f}"
        table.add_row(words, f"{samples:,}", *cells, f"{cpu:.1f}", f"{shared:.1f}", f"{2 * cpu / shared:.2f}")
    table.caption = "on free cores: twice the CPU time of one for that of two, at the least of all rounds"
    return table


def memory_table(options: argparse.Namespace, threads: int | None, console: Console) -> Table:
    """Growth of peak memory during a certificate, after a warm-up, for each number of samples."""
    table = Table(title="certify.smooth: growth of peak resident memory")
    table.add_column("samples", justify="right")
    table.add_column("MiB", justify="right")
    for n in MEMORY_N:
        with console.status(f"memory at n={n:,}"):
            result = measure(Job("certify", options.network, n, threads, is_tuned(options.process, "certify")))
        table.add_row(f"{n:,}", f"{result['mib']:.1f}")
    return table


def markdown(table: Table) -> str:
    """A rich table as a Markdown table under its title."""
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    rows = [
        [str(column.header) for column in table.columns],
        ["---"] * len(cells),
        *map(list, zip(*cells, strict=True)),
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    caption = ["", str(table.caption)] if table.caption else []
    return "\n".join([f"## {table.title}", "", *lines, *caption])


def is_tuned(process: str, contestant: str) -> bool:
    """Whether a contestant's process keeps freed memory, as that of the command line does and a rival's does not."""
    return process == "tuned" or (process == "as-shipped" and contestant in ("bare", "certify"))


def parser() -> argparse.ArgumentParser:
    """The options; ``--job`` is how this script calls itself."""
    new = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    new.add_argument("--threads", type=int, help="torch threads (default: torch's default, and then 1)")
    new.add_argument("--network", choices=("strided", "pooled"), default="strided")
    new.add_argument(
        "--process",
        choices=("as-shipped", "plain", "tuned"),
        default="as-shipped",
        help="who calls certify.tune_process() first: we and the bare model, nobody, or everybody",
    )
    new.add_argument("--n", type=int, default=100_000, help="samples of the bare model and of certify")
    new.add_argument(
        "--rival-n", type=int, default=20_000, help="samples of the rivals, whose rates do not grow with n"
    )
    new.add_argument("--rounds", type=int, default=5)
    new.add_argument("--quick", action="store_true", help="n=20,000, rivals 4,000, two rounds")
    new.add_argument("--out", type=Path, help="also write the tables to this Markdown file")
    new.add_argument("--job", help=argparse.SUPPRESS)
    return new


def main() -> None:
    """Print the tables, and write them if asked to."""
    options = parser().parse_args()
    if options.job:
        print(json.dumps(work(Job(**json.loads(options.job)))))
        return
    if options.quick:
        options.n, options.rival_n, options.rounds = 20_000, 4_000, 2
    console = Console(width=max(120, Console().width))
    machine = f"torch {version('torch')}, {platform.machine()}, {os.cpu_count()} cores"
    console.print(machine)
    tables = []
    for threads in (None, 1) if options.threads is None else (options.threads,):
        tables.append(speed_table(options, threads, console))
        console.print(tables[-1])
    tables.append(workers_table(options, console))
    console.print(tables[-1])
    tables.append(memory_table(options, options.threads, console))
    console.print(tables[-1])
    if options.out:
        command = "python " + " ".join(["benchmarks/smoothing.py", *sys.argv[1:]])
        parts = ["# Speed of smoothing", f"`{command}` on {machine}", *map(markdown, tables)]
        options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
