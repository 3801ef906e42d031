"""``certify gate``: does a run meet a release policy? The answer is the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, exit_code
from certify.cli.files import evidence_files, remove_earlier, replacing, require_distinct
from certify.errors import BadInput
from certify.gate.judge import GATE_FORMATS, judge_run
from certify.gate.policy import read_policy
from certify.progress.observer import observer

__all__ = ["gate"]


@app.command()
def gate(
    run: Annotated[Path, typer.Argument(help="run folder")],
    policy: Annotated[Path, typer.Option(help="POLICY.toml: what is required, with what confidence")],
    baseline: Annotated[Path | None, typer.Option(help="the earlier run that non_inferior compares with")] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write")] = None,
    markdown: Annotated[Path | None, typer.Option(help="file to append a Markdown summary to")] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="derive the records from their evidence first")
    ] = True,
    format: Annotated[str, typer.Option(help="table, json, markdown or junit")] = "table",
    quiet: Quiet = False,
) -> int:
    """Hold interval ends against a policy: 0 passed, 1 failed, 3 incomplete run, 4 contradiction."""
    render = GATE_FORMATS[format]
    read = [policy, *evidence_files(run, *([] if baseline is None else [baseline]))]
    require_distinct({"--junit": junit, "--markdown": markdown}, read)  # check both before one is removed
    remove_earlier({"--junit": junit}, read)
    found = judge_run(read_policy(policy), run, baseline, check=check, progress=observer(quiet))
    if junit is not None:
        with replacing("--junit", junit) as file:
            file.write(f"{found.render('junit')}\n".encode())
    if markdown is not None:
        _append(markdown, found.render("markdown") + "\n")
    typer.echo(render(found))
    code = exit_code(found.trial.run.summary)
    return ExitCode.FAILED if code is ExitCode.DONE and not found.passed else code


def _append(file: Path, text: str) -> None:
    """Append to the file: many commands of a workflow step write their summaries to the same one."""
    try:
        with file.open("a", encoding="utf-8") as summary:
            summary.write(text)
    except OSError as problem:
        raise BadInput(f"cannot write {file} ({problem.strerror}); choose another --markdown") from problem
