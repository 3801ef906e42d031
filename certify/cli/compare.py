"""``certify compare``: release over release, paired input by input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import Radii, app, exit_code, radii_or_declared
from certify.cli.files import evidence_files, require_picture, require_writable, save_picture
from certify.core.comparison import COMPARISON_FORMATS
from certify.core.written import radii_of
from certify.errors import BadInput
from certify.study.read import read_runs
from certify.summary.comparison import compare as compare_runs

__all__ = ["compare"]


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="run folders on the same inputs, the baseline first")],
    radii: Radii = None,
    test: Annotated[str, typer.Option(help="exact or tango: where the intervals come from")] = "exact",
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: clean against certified accuracy")] = None,
    radius: Annotated[str | None, typer.Option(help="of the plot; the largest common one if not given")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown or html")] = "table",
) -> int:
    """What each run certifies and loses beside the first one, with intervals and tests."""
    render = COMPARISON_FORMATS[format]
    require_picture("--plot", plot)
    if plot is None and radius is not None:
        raise BadInput("--radius is that of a plot: name one with --plot FILE.svg")
    require_writable({"--plot": plot}, evidence_files(*runs))
    found = compare_runs(read_runs(runs, radii_or_declared(radii)), test=test)
    if plot is not None:
        at = None if radius is None else radii_of("radius", [radius])[0]
        save_picture("--plot", plot, lambda figure: found.plot(figure.subplots(), at), (6, 4.5))
    typer.echo(render(found))
    return exit_code(*(run.summary for run in found.runs))
