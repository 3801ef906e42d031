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
    """Two tables: who knows each norm and each threat that is no ball, and who knows each property."""
    from certify.attacks.base import ATTACKS
    from certify.certifiers.base import CERTIFIERS
    from certify.core.norms import NORMS
    from certify.core.properties.base import PROPERTIES
    from certify.core.scope import scopes
    from certify.core.threats.base import THREATS

    members = [*scopes(CERTIFIERS).items(), *scopes(ATTACKS).items()]
    names, classes = zip(*members, strict=True)
    threats = [*NORMS, *(name for name in THREATS if name != "lp")]
    known = {norm: [one.knows(norm) for one in classes] for norm in threats}
    handled = {name: [one.handles(property) for one in classes] for name, property in PROPERTIES.items()}

    def table(what: str, lines: Mapping[str, Sequence[bool]]) -> list[str]:
        cells = ([name, *("yes" if one else "-" for one in line)] for name, line in lines.items())
        return aligned([[what, *names], *cells])

    return [
        *table("threat", known),
        "",
        *table("property", handled),
        "",
        "Certifiers prove, and attacks search, each threat together with each property that they know.",
    ]
