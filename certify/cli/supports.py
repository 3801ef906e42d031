"""``certify supports``: who knows which threat and property, and what drivers of verification tools ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["supports"]


@app.command(context_settings={"ignore_unknown_options": True})
def supports(
    capability: Annotated[
        str,
        typer.Argument(help="--threats: who proves and attacks which threat and property; or such as --onnx-operators"),
    ],
) -> int:
    """Who knows which threat and property; and what certify verify can decide, as VNN-LIB 2.0 lets solvers be asked."""
    from certify.cli.matrix import matrix_text
    from certify.complete.verify_file import CAPABILITIES

    known = {"threats": matrix_text, **CAPABILITIES}
    name = capability.removeprefix("--")
    if name not in known:
        listed = ", ".join(f"--{each}" for each in known)
        raise BadInput(f"unknown capability {capability!r}{nearest(name, list(known))} known: {listed}")
    typer.echo("\n".join(known[name]()))
    return ExitCode.DONE
