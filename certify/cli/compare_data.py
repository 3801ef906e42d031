"""``certify compare-data``: do new data look like those that a run was certified on?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.cli.files import evidence_files, require_picture, require_writable, save_picture
from certify.deployment.samples import DATA_FORMATS
from certify.process import tune_process

__all__ = ["compare_data"]


@app.command("compare-data")
def compare_data(
    run: Annotated[Path, typer.Argument(help="run folder")],
    new: Annotated[str, typer.Argument(metavar="DATA", help="the new data: a SPEC, or the folder of a run on them")],
    level: Annotated[float, typer.Option(help="probability of a false alarm of all tests together")] = 0.05,
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: inputs and features")] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the run's data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, latex or html")] = "table",
) -> int:
    """Whether new data look like the run's: features, margins, certified radii, a classifier; and which inputs do not.

    Exit code 1: they do not.
    """
    render = DATA_FORMATS[format]
    require_picture("--plot", plot)
    require_writable({"--plot": plot}, evidence_files(run))
    tune_process()
    from certify.deployment.compare_data import compare_data as compared

    found = compared(run, new, level=level, model=model, run_data=data)
    if plot is not None:
        from certify.plots.compare_data import draw_both, inches

        save_picture("--plot", plot, lambda figure: draw_both(found, figure), inches(found))
    typer.echo(render(found))
    return ExitCode.FAILED if found.moved else ExitCode.DONE
