"""``certify status``: how far a run is, and whether anybody works on it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.errors import BadInput

__all__ = ["status"]


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="run folder")],
    watch: Annotated[bool, typer.Option("--watch", help="again and again, until the run has ended")] = False,
    every: Annotated[float, typer.Option(help="seconds between two looks of --watch")] = 5.0,
    format: Annotated[str, typer.Option(help="text or json")] = "text",
) -> int:
    """Say what is done of a run, how fast it goes, what failed; exit 3 while something is missing."""
    from certify.study.status import status_of

    if format not in ("text", "json"):
        raise BadInput(f"unknown status format {format!r}; known: json, text")
    if not every > 0:
        raise BadInput(f"every must be above 0 seconds, got {every:g}")
    while True:
        found = status_of(run)
        typer.echo(json.dumps(found.to_dict()) if format == "json" else str(found))
        if not (watch and found.alive) or found.finished:
            return ExitCode.DONE if found.finished else ExitCode.INCOMPLETE
        time.sleep(every)
