"""``certify export``: the records of a run as JSON lines, CSV or Parquet, or all of it in one signed bundle."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app, exit_code
from certify.cli.files import evidence_files, replacing, require_files, require_writable
from certify.core.run import Run
from certify.errors import BadInput
from certify.store.bundle import write_bundle
from certify.store.export import EXPORTS, Export, Exported
from certify.store.exported import manifest_beside, refuse_shared
from certify.store.run_folder import MANIFEST
from certify.study.read import certificates_of, read_run, reported_of

__all__ = ["export"]


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run folder")],
    format: Annotated[str, typer.Option(help="jsonl or parquet, with all evidence, or csv")] = "jsonl",
    out: Annotated[
        Path | None,
        typer.Option(help="file to write, and of jsonl or parquet its manifest beside it; else standard output"),
    ] = None,
    attack_logs: Annotated[bool, typer.Option("--attack-logs", help="the imported attack logs instead")] = False,
    bundle: Annotated[Path | None, typer.Option(help="file for manifest and all records, signed")] = None,
    key: Annotated[Path | None, typer.Option(help="Ed25519 private key that signs the bundle, in PEM")] = None,
) -> int:
    """Write every certificate, one a line, or every row of imported attack logs, or all in one signed bundle.

    Beside --out FILE.jsonl or FILE.parquet stands FILE.manifest.json, the manifest of the run: certify check FILE.jsonl
    takes both. What there is of an incomplete run (exit code 3), or of one with contradictions (4), is written all the
    same.
    """
    if bundle is not None:
        if out is not None or attack_logs:
            raise BadInput("a bundle holds every record, and is a file of its own; leave --out and --attack-logs out")
        return _bundle(run, bundle, key)
    if key is not None:
        raise BadInput("--key signs a bundle; name its file: --bundle FILE")
    chosen = EXPORTS[format]
    if out is None and chosen.binary and sys.stdout.isatty():
        raise BadInput(f"{format} is not text for a terminal; name a file: --out FILE")
    manifest = None if out is None or chosen.read is None or attack_logs else manifest_beside(out)
    require_writable({"--out": out, "the manifest beside --out,": manifest}, evidence_files(run))
    read = read_run(run)  # refuses what cannot be summarized: an empty or damaged folder, or records of other settings
    records: Exported = reported_of(run) if attack_logs else certificates_of(run)
    if not records:
        raise BadInput(f"{run} holds no imported attack log; certify import --attack FILE=EPS adds one")
    if out is None:
        chosen(records, sys.stdout.buffer if chosen.binary else sys.stdout)
    elif manifest is None:
        _write(chosen, records, out)
    else:
        refuse_shared(out, run / MANIFEST)
        with replacing("--out", manifest) as file:  # neither is replaced before both are whole
            file.write((run / MANIFEST).read_bytes())
            _write(chosen, records, out)
    return _told(read)


def _write(chosen: Export, records: Exported, out: Path) -> None:
    with replacing("--out", out) as file:
        if chosen.binary:
            chosen(records, file)
        else:
            with TextIOWrapper(file, encoding="utf-8", newline="") as text:
                chosen(records, text)


def _bundle(run: Path, bundle: Path, key: Path | None) -> int:
    """Sign the run, and say what a stranger needs to check it."""
    if key is None:
        make = "openssl genpkey -algorithm ed25519 -out PRIVATE.pem"
        raise BadInput(f"--bundle needs --key PRIVATE.pem to sign with; make one: {make}")
    require_files(key)
    require_writable({"--bundle": bundle}, [key, *evidence_files(run)])
    read = read_run(run)
    signer = write_bundle(read, bundle, key)
    typer.echo(f"{bundle} is signed by key {signer}", err=True)
    return _told(read)


def _told(run: Run) -> ExitCode:
    """The exit code, after a line that says why it is not 0."""
    code = exit_code(run.summary)
    why = {ExitCode.INCOMPLETE: "is incomplete", ExitCode.CONTRADICTION: "holds contradictions"}.get(code)
    if why is not None:
        typer.echo(f"{run.name} {why}: certify summary {run.path} says more", err=True)
    return code
