"""``certify stress``: edge cases for people to label, the shape of falls, and costs under load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, resumable
from certify.cli.files import evidence_files, require_writable
from certify.core.stressed import STRESS_FORMATS
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["stress"]


@app.command()
def stress(
    run: Annotated[Path, typer.Argument(help="run folder: its model, inputs and certificates")],
    corruption: Annotated[
        list[str] | None, typer.Option(help="name of a corruption, several times; all that fit if not given")
    ] = None,
    count: Annotated[int, typer.Option(help="edge cases at most")] = 50,
    group: Annotated[
        str, typer.Option(help="what makes an input rare: label, FILE.csv:COLUMN, FILE.npz:ARRAY or slices:FILE.csv")
    ] = "label",
    load: Annotated[bool, typer.Option("--load", help="measure times and memory of the model, apart")] = False,
    seed: Annotated[int, typer.Option(help="seed of what corruptions draw")] = 0,
    samples: Annotated[int, typer.Option(help="smoothing: votes about each corrupted input")] = 100,
    delta: Annotated[float, typer.Option(help="probability with which some interval may miss")] = 0.05,
    out: Annotated[
        Path | None, typer.Option(help="FILE.json: the record, with FILE.npz beside it; RUN/stress.json if not given")
    ] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, latex or html")] = "table",
    quiet: Quiet = False,
) -> int:
    """Edge cases of a run's model for people to label, how its accuracy falls under corruptions, and what it costs.

    The data SPEC stress:FILE.json loads the cases once every one has its expected label. Exit code 4: an input that is
    certified as far as its corruption goes is misclassified under it.
    """
    render = STRESS_FORMATS[format]
    record = run / "stress.json" if out is None else out
    require_writable({"--out": record, "--out (inputs)": record.with_suffix(".npz")}, evidence_files(run))
    tune_process()
    from certify.deployment.stress.run import stress_run

    with resumable("nothing was written"):
        found = stress_run(
            run,
            corruption or None,
            out=record,
            count=count,
            group=group,
            load=load,
            seed=seed,
            samples=samples,
            delta=delta,
            model=model,
            data=data,
            progress=observer(quiet),
        )
    typer.echo(render(found))
    typer.echo(f"wrote {record} and {record.with_suffix('.npz')}", err=True)
    return ExitCode.CONTRADICTION if found.contradictions else ExitCode.DONE
