"""``certify check``: every claim of a run derived again from its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from certify.checker.result import CheckResult
from certify.cli.app import ExitCode, Quiet, app
from certify.core.values import one_of
from certify.errors import BadInput
from certify.process import tune_process
from certify.progress.observer import observer
from certify.report.check_result import check_text

__all__ = ["check"]


@app.command()
def check(
    run: Annotated[
        Path,
        typer.Argument(
            help="run folder; FILE.jsonl or FILE.parquet of export with its manifest beside it; "
            "FILE.json of conformal, FILE.jsonl of monitor"
        ),
    ],
    replay: Annotated[
        int, typer.Option(metavar="K", help="noise blocks to draw again, and inputs to draw fresh samples about")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="which blocks, and what fresh noise; derived from the records if not given")
    ] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    input_box: Annotated[
        str | None, typer.Option(help="bounds of the features where the data state none, as they were given to run")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="signed bundle that the run has to agree with; needs --key")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="public key (PEM) of whoever signed the bundle")] = None,
    engine: Annotated[str | None, typer.Option(help="serial (default), local or ray, as for run")] = None,
    workers: Annotated[int | None, typer.Option(help="how many hold the model (local, ray)")] = None,
    ray_address: Annotated[str | None, typer.Option(help="of a Ray cluster, HOST:PORT")] = None,
    format: Annotated[str, typer.Option(help="table or json")] = "table",
    quiet: Quiet = False,
) -> int:
    """Derive every claim of a run again; exit 1: one is refuted, 3: one could not be checked, 4: contradiction.

    A file of certificates holds nothing that attacks found: then they are not checked, and the result says so.
    """
    one_of("check format", format, ("json", "table"))
    if (bundle is None) != (key is None):
        raise BadInput("a bundle is believed for the key that signed it: give both --bundle and --key, or neither")
    tune_process()
    from certify.core.input_box import read_box
    from certify.engines.base import engine_from
    from certify.study.checking import check_run

    signed = None if bundle is None or key is None else (bundle, key)
    found = check_run(
        run,
        replay=replay,
        seed=seed,
        model=model,
        data=data,
        input_box=None if input_box is None else read_box(input_box),
        bundle=signed,
        progress=observer(quiet),
        engine=engine_from(engine, workers=workers, ray_address=ray_address),
    )
    typer.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False) if format == "json" else check_text(found))
    return _exit_code(found)


def _exit_code(found: CheckResult) -> ExitCode:
    """Contradictions come first, then refuted claims, then claims that could not be checked."""
    if found.contradicted:
        return ExitCode.CONTRADICTION
    if found.refuted:
        return ExitCode.FAILED
    return ExitCode.DONE if found.complete else ExitCode.INCOMPLETE
