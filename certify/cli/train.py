"""``certify train``: a certifiable model by a named recipe, into a folder that is a model SPEC from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, pairs
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["train"]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="noise (for smoothing) or ibp (for linf bounds)")],
    data: Annotated[str, typer.Option(help="training data, for example digits:train")],
    out: Annotated[Path, typer.Option(help="folder for the model")],
    setting: Annotated[list[str] | None, typer.Option(help="name=value of the recipe, such as sigma=0.25")] = None,
    seed: Annotated[int, typer.Option(help="decides weights, order and noise")] = 0,
    quiet: Quiet = False,
) -> int:
    """Train a small network that can be certified."""
    tune_process()
    from certify.data.loaders import load_data
    from certify.registry import make
    from certify.training.recipe import RECIPES, train_model

    chosen = make(RECIPES, recipe, pairs("setting", setting or []))
    dataset = load_data(data)
    with observer(quiet).stage(f"training ({recipe})", chosen.epochs, unit="epochs") as advance:
        train_model(chosen, dataset, out, seed, lambda epoch, epochs, loss: advance(1, f"loss {loss:.3f}"))
    if not quiet:
        typer.echo(f"model in {out}; next: certify run --model {out} --data ... --out runs/first", err=True)
    return ExitCode.DONE
