"""``certify audit``: what a published log says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.cli.import_log import attack_sizes
from certify.core.values import one_of
from certify.report.audit import audit_text
from certify.study.audit import LogAudit, audit_log

__all__ = ["audit"]


@app.command()
def audit(
    log: Annotated[Path, typer.Argument(help="certification or attack log, plain or gzipped")],
    sigma: Annotated[float | None, typer.Option(help="scale of the gaussian noise behind a certification log")] = None,
    attack: Annotated[
        list[str] | None, typer.Option(metavar="FILE=EPS", help="attack log to hold against it, and its size")
    ] = None,
    format: Annotated[str, typer.Option(help="table or json")] = "table",
) -> int:
    """Which n and alpha a log is consistent with, and which of its claims an attack log makes impossible."""
    one_of("audit format", format, ("json", "table"))
    found = audit_log(log, sigma, attack_sizes(attack or []))
    typer.echo(json.dumps(found.to_dict(), indent=2) if format == "json" else audit_text(found))
    impossible = isinstance(found, LogAudit) and any(one.impossible for one in found.attacks)
    return ExitCode.CONTRADICTION if impossible else ExitCode.DONE
