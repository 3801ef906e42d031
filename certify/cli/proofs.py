"""``certify verify --check``: somebody else's answer, derived again."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import typer

from certify.cli.answering import answering
from certify.cli.app import ExitCode
from certify.cli.terminal import CLEAR
from certify.process import importing, limit_memory, tune_process

__all__ = ["confirm"]


def confirm(proof: Path, network: Path, prop: Path) -> ExitCode:
    """Print ``confirmed`` and what was, or ``refuted:`` and why; ``error`` for a file that states no answer."""
    tune_process()
    with answering(math.inf) as say:
        with importing():
            from certify.bounded.memory import free_memory
            from certify.complete.proofs.file import check_proof
        limit_memory(free_memory())
        terminal = sys.stderr.isatty()

        def progress(done: int, total: int) -> None:
            if terminal:
                typer.echo(f"{CLEAR}{done:,} of {total:,} part{'' if total == 1 else 's'}", nl=False, err=True)

        found = check_proof(proof, network, prop, progress)
        if terminal:
            typer.echo(CLEAR, nl=False, err=True)
        about = "" if found.outcome == "sat" else f" ({found.claim})"
        say(f"refuted: {found.fault}" if found.fault else f"confirmed\n{found.outcome}{about}")
    return ExitCode.DONE if found.confirmed else ExitCode.FAILED
