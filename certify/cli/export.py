"""``certify export``: the records of a run as JSON lines, CSV or Parquet, or all of it in one signed bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app, exit_code
from certify.cli.files import present
from certify.errors import BadInput
from certify.store.bundle import write_bundle
from certify.store.export import EXPORTS
from certify.study.read import certificates_of, read_run, reported_of

__all__ = ["export"]


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run folder")],
    format: Annotated[str, typer.Option(help="jsonl or parquet, with all evidence, or csv")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="file to write; standard output if not given")] = None,
    attack_logs: Annotated[bool, typer.Option("--attack-logs", help="the imported attack logs instead")] = False,
    bundle: Annotated[Path | None, typer.Option(help="file for manifest and all records, signed")] = None,
    key: Annotated[Path | None, typer.Option(help="Ed25519 private key that signs the bundle, in PEM")] = None,
) -> int:
    """Write every certificate, one a line; or every row of the attack logs that were imported beside them."""
    if bundle is not None:
        if out is not None or attack_logs:
            raise BadInput("a bundle holds every record, and is a file of its own; leave --out and --attack-logs out")
        return _bundle(run, bundle, key)
    if key is not None:
        raise BadInput("--key signs a bundle; name its file: --bundle FILE")
    chosen = EXPORTS[format]
    if out is None and chosen.binary and sys.stdout.isatty():
        raise BadInput(f"{format} is not text for a terminal; name a file: --out FILE")
    records = reported_of(run) if attack_logs else certificates_of(run)
    if out is None:
        chosen(records, sys.stdout.buffer if chosen.binary else sys.stdout)
        return ExitCode.DONE
    try:
        with out.open("wb") if chosen.binary else out.open("w", encoding="utf-8", newline="") as file:
            chosen(records, file)
    except OSError as problem:
        raise BadInput(f"cannot write {out} ({problem.strerror}); choose another --out") from problem
    return ExitCode.DONE


def _bundle(run: Path, bundle: Path, key: Path | None) -> int:
    """Sign the run, and say what a stranger needs to check it."""
    if key is None:
        make = "openssl genpkey -algorithm ed25519 -out PRIVATE.pem"
        raise BadInput(f"--bundle needs --key PRIVATE.pem to sign with; make one: {make}")
    present(key)
    if bundle.exists() and (not bundle.is_file() or bundle.samefile(key)):
        raise BadInput(f"--bundle {bundle} is the key or no plain file; choose another")
    read = read_run(run)
    signer = write_bundle(read, bundle, key)
    typer.echo(f"{bundle} is signed by key {signer}", err=True)
    return exit_code(read.summary)
