"""``certify merge``: join the shards of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import app, exit_code
from certify.study.read import merge as merge_runs
from certify.study.read import summarize_run

__all__ = ["merge"]


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="run folders of all shards")],
    out: Annotated[Path, typer.Option(help="run folder to make")],
) -> int:
    """Join the shards of one run into one run folder."""
    merge_runs(runs, out)
    summary = summarize_run(out, pinned=True)
    typer.echo(summary.table())
    return exit_code(summary)
