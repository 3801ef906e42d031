"""``certify supports``: what a driver of verification tools asks before it hands out work."""

from __future__ import annotations

from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["supports"]


@app.command(context_settings={"ignore_unknown_options": True})
def supports(
    capability: Annotated[str, typer.Argument(help="such as --onnx-operators; a wrong one lists all")],
) -> int:
    """What certify verify can decide, a line each, as VNN-LIB 2.0 lets solvers be asked."""
    from certify.complete.capabilities import CAPABILITIES

    name = capability.removeprefix("--")
    if name not in CAPABILITIES:
        known = ", ".join(f"--{each}" for each in CAPABILITIES)
        raise BadInput(f"unknown capability {capability!r}{nearest(name, list(CAPABILITIES))} known: {known}")
    typer.echo("\n".join(CAPABILITIES[name]()))
    return ExitCode.DONE
