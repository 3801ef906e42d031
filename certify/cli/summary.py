"""``certify summary``: the tables of one or several runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import GroupBy, Radii, app, exit_code, radii_or_declared
from certify.core.summary import FORMATS
from certify.study.read import envelope_of_runs, read_runs, with_groups
from certify.summary.convert import converted

__all__ = ["summary"]


@app.command()
def summary(
    runs: Annotated[list[Path], typer.Argument(help="run folders")],
    radii: Radii = None,
    format: Annotated[str, typer.Option(help="table, json, csv, latex, bibtex, markdown, curve or html")] = "table",
    envelope: Annotated[bool, typer.Option(help="the best at each radius over these runs as well")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="the table of papers: a line a run, a column a radius")] = False,
    convert: Annotated[str | None, typer.Option(help="linf, l2 or l1: what the radii contain in that norm")] = None,
    group: GroupBy = None,
) -> int:
    """Certified accuracy at each radius beside what attacks achieve; several runs side by side."""
    render = FORMATS[format]
    chosen = radii_or_declared(radii)
    found = [with_groups(run, group or []) for run in read_runs(runs, chosen)]
    if convert is not None:
        found = [replace(run, summary=converted(run.summary, convert)) for run in found]
    best = envelope_of_runs(runs, chosen) if envelope else None
    if wide:
        from certify.report.wide import wide as wide_table

        parts = [wide_table(found, format), *([] if best is None else [best.render(format)])]
        if format == "json" and best is not None:
            parts = [json.dumps({"wide": json.loads(parts[0]), "envelope": best.to_dict()}, indent=2, allow_nan=False)]
        typer.echo("\n\n".join(parts))
        return exit_code(*(one.summary for one in found))
    if format == "table":
        from certify.report.terminal import print_runs

        print_runs(found, sys.stdout)
        if best is not None:
            typer.echo(f"\n{best}")
    elif format == "json" and (len(found) > 1 or best is not None):
        whole = {"runs": {one.name: one.summary.to_dict() for one in found}}
        more = {} if best is None else {"envelope": best.to_dict()}
        typer.echo(json.dumps(whole | more, indent=2, allow_nan=False))
    elif format == "csv" and len(found) > 1:
        from certify.report.machine import csv_of_runs

        typer.echo(csv_of_runs(found))
        if best is not None:
            typer.echo(f"\n{best.render(format)}")
    else:
        # The envelope is chosen from the same runs, so it adds no references.
        chosen_from = [] if best is None or format == "bibtex" else [best.render(format)]
        typer.echo("\n\n".join([*(render(one.summary) for one in found), *chosen_from]))
    return exit_code(*(one.summary for one in found))
