"""``certify salvage``: what can be saved of a damaged run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app
from certify.progress.observer import observer

__all__ = ["salvage"]


@app.command()
def salvage(
    run: Annotated[Path, typer.Argument(help="damaged run folder; nothing in it is changed")],
    out: Annotated[Path, typer.Option(help="run folder to make")],
    data: Annotated[
        str | None, typer.Option(help="SPEC of the data: records of other inputs or labels are left out")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Copy the records that can be read and follow from their own evidence; the same run command adds the rest."""
    from certify.study.salvage import salvage as salvage_run

    typer.echo(str(salvage_run(run, out, observer(quiet), data)))
    return ExitCode.DONE
