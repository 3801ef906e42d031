"""``certify corrupt``: accuracy under corruptions beside certified accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, resumable
from certify.cli.files import evidence_files, replacing, require_picture, require_writable, save_picture
from certify.core.corrupted import CORRUPT_FORMATS
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["corrupt"]


@app.command()
def corrupt(
    run: Annotated[Path, typer.Argument(help="run folder: its model, inputs and certificates")],
    corruption: Annotated[
        list[str] | None, typer.Option(help="name of a corruption, several times; all that fit if not given")
    ] = None,
    severity: Annotated[
        list[int] | None, typer.Option(help="from 1 to 5, several times; all five if not given")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="another run folder about the same model and inputs, several times")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of what is drawn")] = 0,
    samples: Annotated[int, typer.Option(help="smoothing: votes about each corrupted input")] = 100,
    delta: Annotated[float, typer.Option(help="probability with which some interval of the table may miss")] = 0.05,
    out: Annotated[Path | None, typer.Option(help="FILE.json: the record; RUN/corrupt.json if not given")] = None,
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: accuracy over the strength")] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, latex or html")] = "table",
    quiet: Quiet = False,
) -> int:
    """Accuracy of a run's model under corruptions of five severities, beside what is certified of the same inputs.

    Exit code 4: an input that is certified as far as its corruption goes is misclassified under it.
    """
    render = CORRUPT_FORMATS[format]
    target = run / "corrupt.json" if out is None else out
    require_picture("--plot", plot)
    require_writable({"--out": target, "--plot": plot}, evidence_files(run, *(beside or ())))
    tune_process()
    from certify.deployment.corrupt import corrupt_run

    with resumable("nothing was written"):
        found = corrupt_run(
            run,
            corruption or None,
            severities=severity or range(1, 6),
            beside=beside or (),
            seed=seed,
            samples=samples,
            delta=delta,
            model=model,
            data=data,
            progress=observer(quiet),
        )
    with replacing("--out", target) as file:
        file.write(f"{json.dumps(found.to_dict(), allow_nan=False)}\n".encode())
    if plot is not None:
        from certify.plots.corrupted import draw_all, inches

        save_picture("--plot", plot, lambda figure: draw_all(found, figure), inches(found))
    typer.echo(render(found))
    typer.echo(f"wrote {target}", err=True)
    if found.contradictions:
        return ExitCode.CONTRADICTION
    return ExitCode.DONE if all(one.complete for one in found.runs) else ExitCode.INCOMPLETE
