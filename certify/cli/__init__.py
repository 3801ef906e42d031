"""The command line: one file a command, each thin: parse, call the Python API, print.

Nothing here imports torch until a command needs it, so ``certify --help`` is quick; and a command that is named like
its file is the only one imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import typer

from certify.cli.app import Caller, app
from certify.cli.pipes import outlast_readers
from certify.core.legible import legible
from certify.errors import CertifyError, one_line
from certify.process import began

__all__ = ["main"]


def _in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code that raised it."""
    typer.echo(f"certify: {str(message).splitlines()[0]}", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one line on standard error.

    0 done; 1 a gate or a check failed; 2 usage or bad input; 3 incomplete; 4 contradiction.
    """
    alone = arguments is None  # otherwise the process belongs to a caller and goes on afterwards
    caller = Caller(began() if alone else time.monotonic(), alone)
    if alone:
        outlast_readers()
        warnings.showwarning = _in_one_line
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    debug = "--debug" in arguments
    try:
        for module in [command] if command in modules else modules:
            importlib.import_module(f"{__name__}.{module}")
        given = [argument for argument in arguments if argument != "--debug"]
        code = app(given, prog_name="certify", standalone_mode=False, obj=caller)
        return code if isinstance(code, int) else 0
    except (CertifyError, typer.TyperException) as problem:
        if debug:
            traceback.print_exc()
        message = problem.format_message() if isinstance(problem, typer.TyperException) else str(problem)
        code = getattr(problem, "exit_code", 2)
    except (typer.Abort, KeyboardInterrupt):  # the second kind while a module is imported
        message, code = "aborted", 2
    except Exception as problem:  # the last resort of a command line: one line, and the rest only if asked for
        if debug:
            traceback.print_exc()
        message, code = f"unexpected {one_line(problem)}; --debug shows where", 2
    if alone:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is over: another Ctrl-C has nothing left to stop
    if message:
        sys.stderr.write(f"certify: {legible(message)}\n")
    return code
