"""Real streams: when does a monitor see that the world has changed, what does it say, and what is then still certified?

    certify run results/training/fashion-linf-ibp.toml --out runs/training/fashion-linf-ibp      # trains the network
    python benchmarks/streams.py --fashion runs/training/fashion-linf-ibp/model/seed-0           # minutes on one core

Fashion-MNIST with a slow blur, a slow change of brightness and a shift of labels; Adult in the order of its file and by
age; digits of which a column sticks. Writes results/deployment/streams/README.md. Adult is read from
CERTIFY_BENCH_DATA, and left out where it is not there.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import certify
from certify.core.monitoring import MonitorReport
from certify.core.rounding import round_down

OUT: Final = Path(__file__).parent.parent / "results" / "deployment" / "streams"

CERTIFY: Final = [sys.executable, "-c", "import certify.cli; raise SystemExit(certify.cli.main())"]

TOGETHER: Final = 50
"""Rows that arrive together."""

AGAIN: Final = 500
"""The last rows of a stream, which are certified again."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Stream:
    """Rows in the order in which they come.

    Args:
        name: for the table.
        run: folder of the run that is watched.
        x, y: inputs and their labels.
        change: what changes, in words.
        begins: the first row, from 1, that is changed; None where nobody knows of a change.
        delay: rows after which a label comes.
        labelled: share of the rows that ever get a label.
        groups: of each row, where groups are watched, and the spec of those of the run.
    """

    name: str
    run: Path
    x: Array
    y: Array
    change: str
    begins: int | None
    delay: int = 200
    labelled: float = 1.0
    groups: tuple[Array, str] | None = None


def certify_command(*arguments: str | Path) -> str:
    """The output of a command that must not fail."""
    done = subprocess.run(
        [*CERTIFY, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"certify {' '.join(map(str, arguments))} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def certified(folder: Path, x: Array, y: Array, model: Path, radii: str, classes: int) -> Path:
    """The run folder of some inputs, certified by CROWN."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data.npz"
    np.savez(data, x=x, y=y, num_classes=np.array(classes))
    run = folder / "run"
    how = ("--certifier", "crown", "--norm", "linf", "--radii", radii, "--seed", "0", "--quiet")
    certify_command("run", "--model", model, "--data", f"npz:{data}", *how, "--out", run)
    return run


def watched(stream: Stream, work: Path) -> tuple[MonitorReport, float]:
    """What a monitor says at the end of a stream, and the seconds of the processor for a row."""
    state = work / f"{stream.name.replace(' ', '-')}.jsonl"
    state.unlink(missing_ok=True)
    asked = np.random.default_rng(0).random(len(stream.y)) < stream.labelled
    ids = [f"row {place + 1}" for place in range(len(stream.y))]
    group = {} if stream.groups is None else {"group": stream.groups[1]}
    begin = time.process_time()
    with certify.Monitor(stream.run, state, **group) as monitor:
        for start in range(0, len(stream.y), TOGETHER):
            end = min(start + TOGETHER, len(stream.y))
            more = {} if stream.groups is None else {"groups": stream.groups[0][start:end].tolist()}
            monitor.update(stream.x[start:end], ids=ids[start:end], **more)
            old = [place for place in range(start - stream.delay, end - stream.delay) if place >= 0 and asked[place]]
            if old:
                monitor.label([ids[place] for place in old], stream.y[old].tolist())
        report = monitor.report()
    seconds = (time.process_time() - begin) / len(stream.y)
    certify_command("check", state)
    return report, seconds


def again(stream: Stream, work: Path) -> str:
    """Certified accuracy of the run beside that of the last rows of the stream, at the smallest radius."""
    before = certify.read_run(stream.run)
    folder = work / f"{stream.name.replace(' ', '-')}-again"
    model = Path(str(before.context["specs"]["model"]))
    radii = ",".join(str(row.radius) for row in before.summary.rows if row.radius)
    classes = int(before.context["num_classes"])
    after = certify.read_run(certified(folder, stream.x[-AGAIN:], stream.y[-AGAIN:], model, radii, classes))
    first, last = (next(row for row in one.summary.rows if row.radius) for one in (before, after))
    return (
        f"{percent(first.certified)} -> {percent(last.certified)}"
        f" (clean {percent(before.summary.clean)} -> {percent(after.summary.clean)})"
    )


def percent(share: float) -> str:
    """Rounded down."""
    return round_down(100 * share, 1)


def fashion(work: Path, model: Path, data: str) -> list[Stream]:
    """Blur, brightness and labels that change slowly after 1,000 unchanged images."""
    whole = certify.load_data(data)
    order = np.random.default_rng(0).permutation(len(whole.y))
    x, y = whole.x[order], whole.y[order]
    run = certified(work / "fashion", x[:1000], y[:1000], model, "0.02,0.05", 10)
    x, y = x[1000:4000], y[1000:4000]
    unchanged, slow = 1000, np.clip((np.arange(len(y)) - 1000) / 1500, 0, 1)
    blurred = np.stack([gaussian_filter(one, (0, 2 * part, 2 * part)) for one, part in zip(x, slow, strict=True)])
    brighter = np.clip(x + 0.3 * slow[:, None, None, None].astype(np.float32), 0, 1)
    # every row beyond the unchanged ones is, more and more often, one of the classes that are confused most
    hard, rng = np.isin(y, (0, 2, 4, 6)), np.random.default_rng(1)
    shifted = np.arange(len(y))
    for place in np.flatnonzero(rng.random(len(y)) < slow):
        shifted[place] = rng.choice(np.flatnonzero(hard))
    return [
        Stream("Fashion-MNIST, no change", run, x, y, "nothing", None),
        Stream("Fashion-MNIST, blur", run, blurred, y, "blur of width 0 to 2 pixels over 1,500 images", unchanged + 1),
        Stream("Fashion-MNIST, light", run, brighter, y, "0 to 0.3 brighter over 1,500 images", unchanged + 1),
        Stream(
            "Fashion-MNIST, labels",
            run,
            x[shifted],
            y[shifted],
            "tops, pullovers, coats and shirts come more and more often, over 1,500 images",
            unchanged + 1,
        ),
    ]


def adult(work: Path, folder: Path) -> list[Stream]:
    """Census income in the order of its file, and with an age that rises."""
    x, y, age = adult_table(folder)
    old = (age >= 45).astype(int)
    model = work / "adult-model"
    work.mkdir(parents=True, exist_ok=True)
    np.savez(work / "adult-train.npz", x=x[:12000], y=y[:12000])
    certify_command(
        *("train", "ibp", "--data", f"npz:{work / 'adult-train.npz'}", "--network", "mlp", "--out", model, "--quiet"),
        *("--setting", "epochs=10", "--setting", "eps=0.01", "--setting", "batch_size=256"),
    )
    chosen = slice(12000, 14000)
    run = certified(work / "adult", x[chosen], y[chosen], model, "0.01,0.02", 2)
    np.savez(work / "adult" / "groups.npz", age=np.where(old[chosen], "45 and older", "younger"))
    x, y, age, old = x[14000:22000], y[14000:22000], age[14000:22000], old[14000:22000]
    names = np.where(old, "45 and older", "younger")
    groups = str(work / "adult" / "groups.npz") + ":age"
    rising = np.concatenate([np.arange(3000), 3000 + np.argsort(age[3000:], kind="stable")])
    late = {"delay": 500, "labelled": 0.5}
    return [
        Stream("Adult, order of the file", run, x, y, "nothing that is known", None, groups=(names, groups), **late),
        Stream(
            "Adult, by age",
            run,
            x[rising],
            y[rising],
            "after 3,000 rows people come by age, the youngest first",
            3001,
            groups=(names[rising], groups),
            **late,
        ),
    ]


def adult_table(folder: Path) -> tuple[Array, Array, Array]:
    """Features in [0, 1], numbers by their range and words as one-hot; labels; ages."""
    lines = gzip.decompress((folder / "adult.data.gz").read_bytes()).decode().splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
    columns = list(zip(*rows, strict=True))
    kept = []
    for place in (0, 4, 10, 11, 12):  # age, years of education, capital gain and loss, hours
        values = np.log1p(np.array(columns[place], float)) if place in (10, 11) else np.array(columns[place], float)
        kept.append(((values - values.min()) / (values.max() - values.min()))[:, None])
    for place in (1, 5, 6, 7, 9):  # employment, marriage, occupation, relationship, sex
        words = np.array(columns[place])
        kept.append((words[:, None] == np.unique(words)[None]).astype(float))
    income = np.array([cell == ">50K" for cell in columns[14]], dtype=np.int64)
    return np.concatenate(kept, axis=1).astype(np.float32), income, np.array(columns[0], int)


def digits(work: Path) -> list[Stream]:
    """Handwritten digits of which a column of pixels sticks at full ink."""
    train, test = certify.load_data("digits:train"), certify.load_data("digits")
    work.mkdir(parents=True, exist_ok=True)
    np.savez(work / "digits-train.npz", x=train.x[:700], y=train.y[:700])
    model = work / "digits-model"
    certify_command(
        *("train", "ibp", "--data", f"npz:{work / 'digits-train.npz'}", "--out", model, "--quiet"),
        *("--setting", "epochs=60", "--setting", "eps=0.05"),
    )
    x, y = np.concatenate([train.x[700:], test.x]), np.concatenate([train.y[700:], test.y])
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    run = certified(work / "digits", x[:400], y[:400], model, "0.02,0.05", 10)
    x, y = x[400:].copy(), y[400:]
    begins = len(y) // 2
    x[begins:, ..., 3] = 1.0
    change = "the fourth of eight columns sticks at full ink"
    return [Stream("digits, a column sticks", run, x, y, change, begins + 1, delay=20)]


def rows_of(stream: Stream, report: MonitorReport) -> list[list[str]]:
    """One row of the table for each process."""
    made = []
    for process in report.processes:
        alarm = process.alarm
        if alarm is None:
            when = "none"
        elif stream.begins is None or alarm.rows < stream.begins:
            when = f"row {alarm.rows:,}"
        else:
            when = f"row {alarm.rows:,}, {alarm.rows - stream.begins + 1:,} after the change began"
        risk = "" if process.tolerance is None else f"{process.failures / max(process.observed, 1):.3f}"
        tolerance = "" if process.tolerance is None else f"{process.tolerance:.3f}"
        made.append([process.name, f"{process.observed:,}", tolerance, risk, f"{process.peak:.1f}", when])
    return made


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", type=Path, help="folder of a Fashion-MNIST model; left out if not given")
    parser.add_argument("--data", default="idx:/usr/share/datasets/fashion-mnist", help="SPEC of Fashion-MNIST")
    parser.add_argument("--work", type=Path, default=Path("runs/streams"), help="folder for models, runs and states")
    asked = parser.parse_args()
    tables = Path(os.environ.get("CERTIFY_BENCH_DATA", "../shared/data")) / "tabular"
    makers: list[Callable[[], list[Stream]]] = [lambda: digits(asked.work)]
    if tables.exists():
        makers.append(lambda: adult(asked.work, tables))
    if asked.fashion is not None:
        makers.append(lambda: fashion(asked.work, asked.fashion, asked.data))
    parts = []
    for maker in makers:
        for stream in maker():
            report, seconds = watched(stream, asked.work)
            begin = "" if stream.begins is None else f", from row {stream.begins:,} on"
            moved = "; ".join(f"{one.id} ({one.process})" for one in report.moved[:3])
            parts.append(
                f"## {stream.name}\n\n{len(stream.y):,} rows; what changes: {stream.change}{begin}. Labels of "
                f"{stream.labelled:.0%} of the rows come {stream.delay} rows later. At the end the certificate is "
                f"**{report.force.value}**.\n\n"
                + table(
                    ["process", "observed", "tolerance", "share", "largest log e", "alarm"], rows_of(stream, report)
                )
                + f"\n\nCertified at the smallest radius, %: {again(stream, asked.work)} for the last {AGAIN} rows."
                + (f" To certify again first: {moved}." if moved else "")
                + f" {1000 * seconds:.1f} ms of the processor a row."
            )
            print(parts[-1], file=sys.stderr, flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "README.md").write_text(HEAD.format(made=MADE) + "\n\n" + "\n\n".join(parts) + "\n")


MADE: Final = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one core"

HEAD: Final = """# Real streams

`python benchmarks/streams.py --fashion runs/training/fashion-linf-ibp/model/seed-0`, {made}. A model is certified
(`crown`, linf), released, and watched with `certify.Monitor` at alpha 0.05 for all processes of a stream together;
`certify check` derived every e-value of each state file again. An alarm is written at the number of rows that had
arrived. `error` and `certified` are the risks of being wrong, and of being wrong or not certified at the smallest
radius; their tolerances are upper confidence limits from the run, so that they alarm when the risk has risen beyond
what the run can tell. A score (`margin`) alarms when inputs are no longer like those of the run, which may or may not
harm: the last line of each stream says what certifying the last rows again finds."""


if __name__ == "__main__":
    main()
