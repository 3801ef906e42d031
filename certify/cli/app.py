"""The application that every command file adds itself to, with its exit codes and the options that commands share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from certify.core.summary import Summary
from certify.core.written import radii_of
from certify.errors import BadInput, IncompleteRun
from certify.registry import Written, nearest

__all__ = [
    "Caller",
    "Commands",
    "ExitCode",
    "GroupBy",
    "Quiet",
    "Radii",
    "Verbose",
    "app",
    "exit_code",
    "pairs",
    "radii_or_declared",
    "resumable",
]

Quiet = Annotated[bool, typer.Option("--quiet", help="no progress; warnings and errors alone on standard error")]
Verbose = Annotated[bool, typer.Option("--verbose", help="each result as it is made, on standard error")]
Radii = Annotated[str | None, typer.Option(help="other radii than the declared ones: 0,0.25,0.5")]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        help="a table by group: label, FILE.csv:COLUMN or FILE.npz:ARRAY; slices:FILE.csv for overlapping ones"
    ),
]


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
    """The exit code of summaries: a contradiction comes before inputs that are missing or failed."""
    if any(one.contradictions for one in summaries):
        return ExitCode.CONTRADICTION
    done = all(one.complete and not one.errors for one in summaries)
    return ExitCode.DONE if done else ExitCode.INCOMPLETE


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Texts of the form ``name=value`` as a dictionary; :func:`~certify.registry.make` reads the values.

    >>> pairs("attack option", ["steps=100", "loss=margin"])
    {'steps': '100', 'loss': 'margin'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadInput(f"{option} {text!r} is not name=value, for example steps=100")
        values[name] = Written(value)
    return values


def radii_or_declared(text: str | None) -> tuple[float, ...] | None:
    """The radii that ``--radii`` names; None, which stands for the declared ones, where it was not given."""
    return None if text is None else radii_of("radii", text)


@contextmanager
def resumable(kept: str = "what was finished is kept, and the same command resumes") -> Iterator[None]:
    """Ctrl-C or SIGTERM inside ends the command as incomplete; ``kept`` says what is left of its work."""
    before = None
    if threading.current_thread() is threading.main_thread():  # nobody else may set a handler
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise IncompleteRun(f"interrupted; {kept}") from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
