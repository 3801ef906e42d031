"""``certify compare``: release over release, paired input by input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import Radii, app, exit_code, radii_or_declared
from certify.cli.files import evidence_files, replacing, require_writable
from certify.core.comparison import COMPARISON_FORMATS, Comparison
from certify.core.written import radii_of
from certify.errors import BadInput, needs
from certify.study.read import read_runs
from certify.summary.comparison import compare as compare_runs

__all__ = ["compare"]

_PICTURES = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""Kinds of file, and what keeps the time of day out of them: the same runs make the same bytes."""


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
    if plot is not None and plot.suffix not in _PICTURES:
        raise BadInput(f"--plot {plot} is none of {', '.join(_PICTURES)}; name the file so")
    if plot is None and radius is not None:
        raise BadInput("--radius is that of a plot: name one with --plot FILE.svg")
    require_writable({"--plot": plot}, evidence_files(*runs))
    found = compare_runs(read_runs(runs, radii_or_declared(radii)), test=test)
    if plot is not None:
        _draw(found, plot, None if radius is None else radii_of("radius", [radius])[0])
    typer.echo(render(found))
    return exit_code(*(run.summary for run in found.runs))


def _draw(found: Comparison, file: Path, radius: float | None) -> None:
    with needs("matplotlib", "plot", "drawing a comparison"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    with rc_context({"svg.hashsalt": "certify", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        found.plot(figure.subplots(), radius)
        with replacing("--plot", file) as target:
            figure.savefig(target, format=file.suffix[1:], metadata=_PICTURES[file.suffix])
