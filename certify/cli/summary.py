"""``certify summary``: the tables of one or several runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from certify.cli.app import GroupBy, Radii, app, exit_code, radii_or_declared
from certify.core.summary import FORMATS
from certify.study.read import envelope_of_runs, read_runs, with_groups
from certify.study.replicates import over_seeds, runs_in
from certify.summary.convert import converted
from certify.summary.envelope import Envelope
from certify.summary.replicates import Replicates

__all__ = ["summary"]


@app.command()
def summary(
    runs: Annotated[
        list[Path], typer.Argument(help="run folders, or one that holds runs of several seeds, folds or sigmas")
    ],
    radii: Radii = None,
    format: Annotated[str, typer.Option(help="table, json, csv, latex, bibtex, markdown, curve or html")] = "table",
    envelope: Annotated[bool, typer.Option(help="the best at each radius over these runs as well")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="the table of papers: a line a run, a column a radius")] = False,
    convert: Annotated[str | None, typer.Option(help="linf, l2 or l1: what the radii contain in that norm")] = None,
    group: GroupBy = None,
) -> int:
    """Certified accuracy at each radius beside what attacks achieve; several runs side by side.

    Runs whose models differ in their seed alone, or in their fold, have a table of their mean first, with intervals.
    """
    render = FORMATS[format]
    chosen = radii_or_declared(radii)
    folders = [run for path in runs for run in runs_in(path)]
    found = [with_groups(run, group or []) for run in read_runs(folders, chosen)]
    if convert is not None:
        found = [replace(run, summary=converted(run.summary, convert)) for run in found]
    seeds, notes = over_seeds(runs, chosen)
    for note in notes:
        typer.echo(note, err=True)
    best = [envelope_of_runs(folders, chosen)] if envelope else []
    # Both are about the same runs, so they add no references; and their curves are those of the runs.
    more: list[Replicates | Envelope] = [*([] if format == "curve" else seeds), *best] if format != "bibtex" else []
    named: dict[str, Any] = {"replicates": [one.to_dict() for one in seeds]} if seeds else {}
    named |= {"envelope": best[0].to_dict()} if best else {}
    if wide:
        from certify.report.wide import wide as wide_table

        parts = [wide_table(found, format), *(one.render(format) for one in more)]
        if format == "json" and named:
            parts = [json.dumps({"wide": json.loads(parts[0])} | named, indent=2, allow_nan=False)]
        typer.echo("\n\n".join(parts))
        return exit_code(*(one.summary for one in found))
    if format == "table":
        from certify.report.terminal import print_runs

        for one in seeds:
            typer.echo(f"{one}\n")
        print_runs(found, sys.stdout)
        for last in best:
            typer.echo(f"\n{last}")
    elif format == "json" and (len(found) > 1 or named):
        whole = {"runs": {one.name: one.summary.to_dict() for one in found}}
        typer.echo(json.dumps(whole | named, indent=2, allow_nan=False))
    elif format == "csv" and len(found) > 1:
        from certify.report.machine import csv_of_runs

        typer.echo("\n\n".join([csv_of_runs(found), *(one.render(format) for one in more)]))
    else:
        typer.echo("\n\n".join([*(render(one.summary) for one in found), *(one.render(format) for one in more)]))
    return exit_code(*(one.summary for one in found))
