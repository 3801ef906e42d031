"""``certify conformal``: prediction sets whose coverage holds under every change within a radius."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, Radii, app, radii_or_declared, resumable
from certify.cli.files import evidence_files, replacing, require_picture, require_writable, save_picture
from certify.core.prediction_sets import SET_FORMATS
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["conformal"]


@app.command()
def conformal(
    run: Annotated[Path, typer.Argument(help="run folder: its model, inputs, threat and certifier")],
    calibration: Annotated[
        str, typer.Option(help="SPEC of other data with labels; or rest, the inputs that the run's --limit left out")
    ],
    coverage: Annotated[float, typer.Option(help="probability with which a set is to hold its label")] = 0.9,
    radii: Radii = None,
    score: Annotated[str, typer.Option(help="nonconformity score: lac or margin")] = "lac",
    samples: Annotated[int | None, typer.Option(help="smoothing: draws about each input; 150 if not given")] = None,
    out: Annotated[
        Path | None, typer.Option(help="FILE.json: the record of the sets; RUN/conformal.json if not given")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: coverage and sizes by radius")] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, latex or html")] = "table",
    quiet: Quiet = False,
) -> int:
    """Sets of classes that hold the label with a stated probability, however an input was changed within a radius.

    `certify check FILE.json` computes a record again. Exit code 4: a set lacks a label that is proven to be in it.
    """
    render = SET_FORMATS[format]
    chosen = radii_or_declared(radii)
    target = run / "conformal.json" if out is None else out
    require_picture("--plot", plot)
    require_writable({"--out": target, "--plot": plot}, evidence_files(run))
    tune_process()
    from certify.study.conformal import conformal_run

    with resumable("nothing was written"):
        found = conformal_run(
            run,
            calibration,
            coverage=coverage,
            score=score,
            samples=samples,
            radii=chosen,
            model=model,
            data=data,
            progress=observer(quiet),
        )
    with replacing("--out", target) as file:
        file.write(f"{json.dumps(found.to_dict(), allow_nan=False)}\n".encode())
    if plot is not None:
        from certify.plots.prediction_sets import draw_both, inches

        save_picture("--plot", plot, lambda figure: draw_both(found, figure), inches(found))
    typer.echo(render(found))
    typer.echo(f"wrote {target}", err=True)
    return ExitCode.CONTRADICTION if found.contradictions else ExitCode.DONE
