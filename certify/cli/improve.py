"""``certify improve``: where a run loses certified accuracy, and what to do next; it trains nothing itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import GroupBy, app, exit_code
from certify.cli.files import evidence_files, require_picture, require_writable, save_picture
from certify.errors import BadInput
from certify.study.improve.advise import IMPROVEMENT_FORMATS
from certify.study.improve.advise import improve as improve_run

__all__ = ["improve"]


@app.command()
def improve(
    run: Annotated[Path, typer.Argument(help="run folder")],
    group: GroupBy = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="the model may not be trained again")] = False,
    explain: Annotated[
        int | None,
        typer.Option(metavar="K", help="which features carry the margin of the K weakest inputs; asks the model"),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="FILE.svg, .png or .pdf: these inputs, drawn")] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model to explain, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json or markdown")] = "table",
) -> int:
    """What to train or run next, with reasons drawn from the numbers and the expected cost."""
    render = IMPROVEMENT_FORMATS[format]
    for option, given in (("plot", plot), ("model", model), ("data", data)):
        if explain is None and given is not None:
            raise BadInput(f"--{option} is for explanations: ask for some with --explain 8")
    require_picture("--plot", plot)
    require_writable({"--plot": plot}, evidence_files(run))
    found = improve_run(run, groups=group or [], frozen=frozen)
    if explain is not None:
        from certify.process import tune_process
        from certify.study.explain import explain as explained

        tune_process()
        found = replace(found, explained=explained(found.run, explain, model=model, data=data))
    if plot is not None:
        from certify.plots.explanations import draw_explanations, inches

        weakest = found.explained
        save_picture("--plot", plot, lambda figure: draw_explanations(weakest, figure), inches(weakest))
    typer.echo(render(found))
    if plot is not None:
        typer.echo(f"wrote {plot}", err=True)
    return exit_code(found.run.summary)
