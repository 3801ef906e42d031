"""``certify demo``: the whole way on real data, offline, in under two minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, resumable
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["demo"]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="where models and run folders go")] = Path("demo"),
    quiet: Quiet = False,
) -> int:
    """Train two small networks on handwritten digits, certify and attack both, print the tables."""
    tune_process()
    from certify.study.demo import PARTS, run_part

    begin, contradictions = time.perf_counter(), 0
    for part in PARTS:
        typer.echo(f"\n=== {part.title} ===\n")
        with resumable():
            summary = run_part(part, out, observer(quiet)).summary
        contradictions += len(summary.contradictions)
        typer.echo(f"{summary.table()}\n\n{summary.curve()}")
    typer.echo(
        f"\n{time.perf_counter() - begin:.0f} s. Run folders: {', '.join(str(out / part.name) for part in PARTS)}"
    )
    first = out / PARTS[0].name
    typer.echo(f"next: certify report {first} --html {out / 'report.html'}   certify check {first} --replay 3")
    return ExitCode.CONTRADICTION if contradictions else ExitCode.DONE
