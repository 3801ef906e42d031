"""``certify report``: finished runs as a page, a paper, a model card, a comment; without an option, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import app, exit_code
from certify.cli.files import evidence, replacing, writable
from certify.core.run import Run
from certify.core.written import radii_of
from certify.errors import BadInput
from certify.study.read import read_runs, with_groups

__all__ = ["report"]


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="run folders, shown side by side")],
    html: Annotated[Path | None, typer.Option(help="write a page: one file that needs nothing else")] = None,
    latex: Annotated[Path | None, typer.Option(help="folder for a table, a figure and references")] = None,
    card: Annotated[Path | None, typer.Option(help="write a model card; of runs of one model only")] = None,
    markdown: Annotated[Path | None, typer.Option(help="write a comment for a pull request")] = None,
    mlflow: Annotated[str | None, typer.Option(help="log to MLflow: a folder or a tracking URI")] = None,
    data: Annotated[
        str | None, typer.Option(help="the data SPEC of the run, for pictures; found by its name if not given")
    ] = None,
    radii: Annotated[str | None, typer.Option(help="other radii than the declared ones: 0,0.25,0.5")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="a table by group: label, FILE.csv:COLUMN or FILE.npz:ARRAY")
    ] = None,
) -> int:
    """What radius can be promised, how sure that is, and everything behind it, for readers of many kinds."""
    texts = {"--html": html, "--card": card, "--markdown": markdown}
    targets = {option: path for option, path in texts.items() if path is not None}
    writable(targets, evidence(*runs))
    if data is not None and html is None:
        raise BadInput("--data is for the pictures of a page; name one with --html FILE")
    chosen = None if radii is None else radii_of("radii", radii)
    found = [with_groups(run, group or []) for run in read_runs(runs, chosen)]
    options = [("--data", data), ("--radii", radii), *(("--group", column) for column in group or [])]
    asked = [word for option, value in options if value is not None for word in (option, value)]
    writers: Mapping[str, Callable[[], str]] = {
        "--html": lambda: _page(found, data, asked),
        "--card": lambda: _card(found),
        "--markdown": lambda: _markdown(found),
    }
    # Everything is made before anything is written: an error leaves no half of it behind.
    made = {option: writers[option]() for option in targets}
    for option, text in made.items():
        with replacing(option, targets[option]) as out:
            out.write(text.encode())
    files = list(targets.values())
    if latex is not None:
        from certify.report.latex import write_latex

        files += write_latex(found, latex)
    for file in files:
        typer.echo(f"wrote {file} ({-(-file.stat().st_size // 1000):,} kB)")
    if mlflow is not None:
        from certify.trackers.base import TRACKERS

        typer.echo(f"logged to {TRACKERS['mlflow'](found, mlflow, files)}")
    if not files and mlflow is None:
        from certify.report.terminal import print_runs

        print_runs(found, sys.stdout)
    return exit_code(*(run.summary for run in found))


def _page(runs: Sequence[Run], data: str | None, asked: Sequence[str]) -> str:
    from certify.data.loaders import load_data
    from certify.report.page.page import page

    return page(runs, None if data is None else load_data(data), asked)


def _card(runs: Sequence[Run]) -> str:
    from certify.report.card import model_card

    return model_card(runs)


def _markdown(runs: Sequence[Run]) -> str:
    from certify.report.markdown import markdown

    return markdown(runs) + "\n"
