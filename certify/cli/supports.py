"""``certify supports``: who knows which threat and property, and what drivers of verification tools ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from certify.cli.app import ExitCode, app
from certify.errors import BadInput
from certify.registry import nearest
from certify.report.blocks import aligned

__all__ = ["supports"]


@app.command(context_settings={"ignore_unknown_options": True})
def supports(
    capability: Annotated[
        str,
        typer.Argument(help="--threats: who proves and attacks which threat and property; or such as --onnx-operators"),
    ],
) -> int:
    """Who knows which threat and property; and what certify verify can decide, as VNN-LIB 2.0 lets solvers be asked."""
    from certify.complete.verify_file import CAPABILITIES

    known = {"threats": _threats, **CAPABILITIES}
    name = capability.removeprefix("--")
    if name not in known:
        listed = ", ".join(f"--{each}" for each in known)
        raise BadInput(f"unknown capability {capability!r}{nearest(name, list(known))} known: {listed}")
    typer.echo("\n".join(known[name]()))
    return ExitCode.DONE


def _threats() -> Sequence[str]:
    """Two tables, who knows each threat and who each property, and why the others refuse."""
    from certify.attacks.base import ATTACKS
    from certify.study.matrix import handling, knowing, members_of_both

    members = members_of_both()

    def table(what: str, known: Mapping[str, Sequence[bool]]) -> list[str]:
        cells = ([name, *("yes" if one else "-" for one in line)] for name, line in known.items())
        return aligned([[what, *members], *cells])

    return [
        *table("threat", knowing(members)),
        "",
        *table("property", handling(members)),
        "",
        "Certifiers prove, and attacks search, each threat together with each property that they know. Of the others:",
        *(f"{name} {one.limits}." for name, one in members.items() if one.limits),
        f"Attacks of others, {', '.join(ATTACKS.forms)}: any that looks for another top class, in the same balls.",
    ]
