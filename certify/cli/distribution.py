"""``certify distribution``: how the critical radii of one or several models are spread over their inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import app, exit_code
from certify.cli.files import evidence_files, require_files, require_picture, require_writable, save_picture
from certify.core.distributions import DISTRIBUTION_FORMATS
from certify.store.brackets import brackets_by_model
from certify.study.read import read_runs
from certify.summary.distributions import distributions
from certify.summary.published_brackets import beside_published

__all__ = ["distribution"]


@app.command()
def distribution(
    runs: Annotated[list[Path], typer.Argument(help="run folders of proofs, one a model")],
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: functions, boxes, densities")] = None,
    published: Annotated[
        Path | None, typer.Option(help="FILE.csv with model,index,lower,upper: published brackets to hold against ours")
    ] = None,
    format: Annotated[str, typer.Option(help="table, json, csv, markdown, latex or html")] = "table",
) -> int:
    """Robustness distributions of models: bands, quantiles, tests between them, and a log-normal law."""
    render = DISTRIBUTION_FORMATS[format]
    require_picture("--plot", plot)
    sources = [published] if published is not None else []
    require_files(*sources)
    require_writable({"--plot": plot}, [*evidence_files(*runs), *sources])
    found = distributions(read_runs(runs))
    if published is not None:
        found = beside_published(found, brackets_by_model(published))
    if plot is not None:
        from certify.plots.robustness import draw_all, inches

        save_picture("--plot", plot, lambda figure: draw_all(found, figure), inches(found))
    typer.echo(render(found))
    return exit_code(*(run.summary for run in found.runs))
