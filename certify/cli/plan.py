"""``certify plan``: what a study will cost, before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import app
from certify.errors import BadInput

__all__ = ["plan"]


@app.command()
def plan(
    study: Annotated[Path, typer.Argument(help="STUDY.toml, as `certify run` takes it; no run folder is needed")],
    workers: Annotated[
        int | None, typer.Option(help="how many to reckon with; those of the study if not given")
    ] = None,
    probe: Annotated[int | None, typer.Option(help="inputs that are computed to find out; 8 if not given")] = None,
    format: Annotated[str, typer.Option(help="text or json")] = "text",
) -> int:
    """Say what a study will cost, from a probe of a few inputs: forward passes, time, memory, the largest radius.

    Nothing is written. Of a study with several sigmas each is planned.
    """
    from certify.process import tune_process
    from certify.study.settings import read_toml, sweep

    if format not in ("text", "json"):
        raise BadInput(f"unknown plan format {format!r}; known: json, text")
    asked = [settings for settings, _ in sweep({"out": "unused", **read_toml(study)})]
    workers = (asked[0].workers or 1) if workers is None else workers
    tune_process()
    from certify.study.evaluate import studies_from
    from certify.study.plan import PROBE, plan_of

    probe = PROBE if probe is None else probe
    plans = [plan_of(built, probe=probe, workers=workers) for built in studies_from(asked)]
    if format == "json":
        typer.echo(json.dumps([one.to_dict() for one in plans] if len(plans) > 1 else plans[0].to_dict()))
    else:
        typer.echo("\n\n".join(map(str, plans)))
    return 0
