"""``certify supports``: who knows which threat, and what drivers of verification tools ask for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
        str, typer.Argument(help="--threats: who proves and attacks which; or such as --onnx-operators")
    ],
) -> int:
    """Who knows which threat; and what certify verify can decide, as VNN-LIB 2.0 lets solvers be asked."""
    from certify.complete.verify_file import CAPABILITIES

    known = {"threats": _threats, **CAPABILITIES}
    name = capability.removeprefix("--")
    if name not in known:
        listed = ", ".join(f"--{each}" for each in known)
        raise BadInput(f"unknown capability {capability!r}{nearest(name, list(known))} known: {listed}")
    typer.echo("\n".join(known[name]()))
    return ExitCode.DONE


def _threats() -> Sequence[str]:
    """A line for each norm, and for each threat that is no ball: who proves it, who moves in it."""
    from certify.attacks.base import ATTACKS
    from certify.certifiers.base import CERTIFIERS
    from certify.core.norms import NORMS
    from certify.core.properties.base import PROPERTIES
    from certify.core.threats.base import THREATS

    threats = [*NORMS, *(name for name in THREATS if name != "lp")]
    proven = {name: [one for one in threats if _made(made).proves(one)] for name, made in CERTIFIERS.items()}  # type: ignore[attr-defined]
    attacked = {name: getattr(_made(made), "norms", threats) for name, made in ATTACKS.items()}
    cells = [["yes" if one in known else "-" for known in (*proven.values(), *attacked.values())] for one in threats]
    lines = [[one, *line] for one, line in zip(threats, cells, strict=True)]
    voted = [name for name, one in PROPERTIES.items() if one.votes]
    return [
        *aligned([["threat", *proven, *attacked], *lines]),
        "",
        f"Properties ({', '.join(PROPERTIES)}) are proven by all of these certifiers, but for two: smoothing proves "
        f"{', '.join(voted)}, and lipschitz top-class.",
        "The attacks autoattack and hopskipjump search those that smoothing proves, all others every property.",
    ]


def _made(factory: object) -> object:
    return factory.func if isinstance(factory, functools.partial) else factory
