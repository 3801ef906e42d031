"""The application that every command file adds itself to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from certify.core.summary import Summary
from certify.errors import BadInput, IncompleteRun
from certify.registry import nearest

__all__ = ["Caller", "Commands", "ExitCode", "app", "exit_code", "resumable"]


class ExitCode(IntEnum):
    """What the exit code says."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    INCOMPLETE = 3
    CONTRADICTION = 4


class Caller(NamedTuple):
    """Whose process a command runs in.

    Args:
        begin: when the command began, on the clock of ``time.monotonic``; start-up counts.
        alone: whether the process ends with the command.
    """

    begin: float
    alone: bool


class Commands(TyperGroup):
    """All commands; an unknown one is told which there are."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See click."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = sorted(self.list_commands(ctx))
            raise BadInput(f"unknown command {args[0]!r}{nearest(args[0], known)} known: {', '.join(known)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="certify",
    cls=Commands,
    help="What radius can you promise for this model, and how sure are you?",
    epilog="Exit codes: 0 done, 1 a gate or check failed, 2 bad input, 3 incomplete, 4 contradiction. "
    "--debug before or after any command shows a traceback.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_name(wanted: bool) -> None:
    if wanted:
        typer.echo("certify")
        raise typer.Exit


def _print_version(wanted: bool) -> None:
    if wanted:
        from certify import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _certify(
    name: Annotated[bool, typer.Option("--name", callback=_print_name, is_eager=True, help="print certify")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """What radius can you promise for this model, and how sure are you?"""


def exit_code(*summaries: Summary) -> ExitCode:
    """What summaries have to say: a contradiction before all else, then what is missing."""
    if any(one.contradictions for one in summaries):
        return ExitCode.CONTRADICTION
    return ExitCode.DONE if all(one.complete for one in summaries) else ExitCode.INCOMPLETE


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C inside ends the command as incomplete: every finished record is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise IncompleteRun("interrupted; what was finished is kept, and the same command resumes") from None
