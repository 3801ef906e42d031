"""``certify import``: a published certification log into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import app, exit_code
from certify.core.written import radius_of
from certify.errors import BadInput
from certify.study.published import import_logs
from certify.study.read import summarize_run

__all__ = ["attack_sizes", "import_log"]


@app.command("import")
def import_log(
    logs: Annotated[list[Path], typer.Argument(help="certification log, plain or gzipped; or the parts of one")],
    sigma: Annotated[float, typer.Option(help="scale of the gaussian noise behind the log, in input units")],
    out: Annotated[Path, typer.Option(help="run folder to make")],
    n: Annotated[int | None, typer.Option(help="samples per input; read off the radii if not given")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="probability that one radius is false; read off the radii if not given")
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option(metavar="FILE=EPS", help="attack log on the same inputs, and its size")
    ] = None,
    norm: Annotated[str, typer.Option(help="norm of the radii")] = "l2",
) -> int:
    """Read a tab-separated certification log of the field, and attack logs beside it."""
    attacks = attack_sizes(attack or [])
    done = import_logs(logs, out, sigma=sigma, n=n, alpha=alpha, norm=norm, attacks=attacks)
    for caution in done.cautions:
        typer.echo(f"warning: {caution}", err=True)
    if done.inferred:
        typer.echo(f"n={done.n:,} and alpha={done.alpha:g} inferred: the only usual pair that fits the radii", err=True)
    summary = summarize_run(out)
    typer.echo(summary.table())
    typer.echo(f"{done.rows:,} records in {out}; next: certify summary {out} --format json", err=True)
    return exit_code(summary)


def attack_sizes(texts: Sequence[str]) -> dict[Path | str, float]:
    """Attack logs and the size allowed to each, from FILE=EPS.

    Raises:
        BadInput: for other text, or a file named twice.

    >>> attack_sizes(["logs/pgd_eps=0.5.tsv=0.5"])
    {PosixPath('logs/pgd_eps=0.5.tsv'): 0.5}
    """
    sizes: dict[Path | str, float] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        try:
            radius = radius_of(size)
        except ValueError:
            radius = -1.0
        if not name or radius < 0:
            raise BadInput(f"attack {text!r} is not FILE=EPS with EPS >= 0, for example attack.tsv=0.5")
        if Path(name) in sizes:
            raise BadInput(f"attack log {name} is named twice; an attack has one size")
        sizes[Path(name)] = radius
    return sizes
