"""``certify report``: finished runs as a page, a paper, a model card, a comment; without an option, in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import GroupBy, Radii, app, exit_code, radii_or_declared
from certify.cli.files import evidence_files, replacing, require_writable
from certify.errors import BadInput
from certify.study.read import read_runs, with_groups
from certify.study.replicates import over_seeds, runs_in

__all__ = ["report"]


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="run folders, shown side by side, or one that holds several")],
    html: Annotated[Path | None, typer.Option(help="write a page: one file that needs nothing else")] = None,
    latex: Annotated[Path | None, typer.Option(help="folder for tables, a figure and references")] = None,
    card: Annotated[Path | None, typer.Option(help="write a model card; of runs of one model only")] = None,
    markdown: Annotated[Path | None, typer.Option(help="write a comment for a pull request")] = None,
    mlflow: Annotated[str | None, typer.Option(help="log to MLflow: a folder or a tracking URI")] = None,
    data: Annotated[
        str | None, typer.Option(help="the data SPEC of the run, for pictures; found by its name if not given")
    ] = None,
    radii: Radii = None,
    group: GroupBy = None,
) -> int:
    """What radius can be promised, how sure that is, and everything behind it, for readers of many kinds."""
    folders = [run for path in runs for run in runs_in(path)]
    require_writable({"--html": html, "--card": card, "--markdown": markdown}, evidence_files(*folders))
    if data is not None and html is None:
        raise BadInput("--data is for the pictures of a page; name one with --html FILE")
    chosen = radii_or_declared(radii)
    found = [with_groups(run, group or []) for run in read_runs(folders, chosen)]
    options = [("--data", data), ("--radii", radii), *(("--group", column) for column in group or [])]
    seeds, notes = over_seeds(runs, chosen) if html is not None or latex is not None else ([], [])
    for note in notes:
        typer.echo(note, err=True)
    asked = [word for option, value in options if value is not None for word in (option, value)]
    # Everything is made before anything is written: an error leaves no half of it behind.
    made: list[tuple[str, Path, str]] = []
    if html is not None:
        from certify.data.loaders import load_data
        from certify.report.page.page import page

        first = found[0].summary
        given = None if data is None else load_data(data, first.threat.input_box, first.property.task == "regression")
        made.append(("--html", html, page(found, given, asked, seeds)))
    if card is not None:
        from certify.report.card import model_card

        made.append(("--card", card, model_card(found)))
    if markdown is not None:
        from certify.report.markdown import markdown as comment

        made.append(("--markdown", markdown, comment(found) + "\n"))
    for option, path, text in made:
        with replacing(option, path) as out:
            out.write(text.encode())
    files = [path for _, path, _ in made]
    if latex is not None:
        from certify.report.latex import write_latex

        files += write_latex(found, latex, seeds)
    for file in files:
        typer.echo(f"wrote {file} ({-(-file.stat().st_size // 1000):,} kB)")
    if mlflow is not None:
        from certify.trackers.base import TRACKERS

        typer.echo(f"logged to {TRACKERS['mlflow'](found, mlflow, files)}")
    if not files and mlflow is None:
        from certify.report.terminal import print_runs

        print_runs(found, sys.stdout)
    return exit_code(*(run.summary for run in found))
