"""``certify shift``: what a run guarantees where the data are others than those it was certified on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import Radii, app, exit_code, radii_or_declared
from certify.cli.files import evidence_files, require_picture, require_writable, save_picture
from certify.core.written import numbers
from certify.deployment.shift import SHIFT_FORMATS, shift_run
from certify.study.read import read_run

__all__ = ["shift"]


@app.command()
def shift(
    run: Annotated[Path, typer.Argument(help="run folder")],
    threshold: Annotated[
        float | None, typer.Option(help="a fraction: find the largest shift at which this much is still certified")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="total_variation, density_ratio, kl or chi2; all if not given")
    ] = None,
    amounts: Annotated[str | None, typer.Option(help="amounts of the one measure that is named: 0,0.05,0.1")] = None,
    group: Annotated[
        str | None, typer.Option(help="only shares of these groups change: label, FILE.csv:COLUMN or FILE.npz:ARRAY")
    ] = None,
    shares: Annotated[
        str | None, typer.Option(help="the shares at deployment: 0=0.3,1=0.7 or 0=0.2..0.4,.. or FILE.csv")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="groups of inputs of the deployment: FILE.csv:COLUMN or FILE.npz:ARRAY")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="importance weights dQ/dP of the inputs: FILE.csv:COLUMN or FILE.npz:ARRAY")
    ] = None,
    radii: Radii = None,
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: the curves")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, latex or html")] = "table",
) -> int:
    """The certified accuracy that is guaranteed on shifted data, against the amount of shift.

    From the run's own confidence bounds, for every distribution that is near that of its inputs; or for other shares of
    its groups, given or estimated from a sample; or under importance weights.
    """
    render = SHIFT_FORMATS[format]
    require_picture("--plot", plot)
    require_writable({"--plot": plot}, evidence_files(run))
    read = read_run(run, radii_or_declared(radii))
    found = shift_run(
        read,
        measures=measure,
        amounts=None if amounts is None else numbers("amounts", amounts),
        threshold=threshold,
        group=group,
        shares=shares,
        sample=sample,
        weights=weights,
    )
    if plot is not None:
        from certify.plots.shift import draw_all, inches

        save_picture("--plot", plot, lambda figure: draw_all(found, figure), inches(found))
    typer.echo(render(found))
    return exit_code(read.summary)
