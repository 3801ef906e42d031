"""``certify train``: a certifiable model by a named recipe, into a folder that is a model SPEC from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, pairs, resumable
from certify.named import is_named
from certify.process import tune_process
from certify.progress.observer import observer
from certify.training.asked import Asked

__all__ = ["train"]


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="standard; for smoothing: noise, consistency, smoothadv, or denoise for a model that stays as it is; "
            "for bounds: ibp, crown-ibp, sabr, mtl-ibp; for l2 without noise: lipschitz; adversarial: pgd, trades"
        ),
    ],
    data: Annotated[str, typer.Option(help="training data, for example digits:train")],
    out: Annotated[Path, typer.Option(help="folder for the model; the same command resumes there")],
    setting: Annotated[list[str] | None, typer.Option(help="name=value of the recipe: sigma=0.25, eps=8/255")] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="small, mlp, cnn4, cnn7, resnet8, resnet20, resnet110, lipnet, or package.module:function; "
            "small, or what suits the recipe, if left out"
        ),
    ] = None,
    network_option: Annotated[
        list[str] | None, typer.Option(help="name=value of the network, such as width=32")
    ] = None,
    seed: Annotated[int, typer.Option(help="decides weights, order and noise")] = 0,
    seeds: Annotated[int | None, typer.Option(help="train so many models, in OUT/seed-0, OUT/seed-1, ..")] = None,
    folds: Annotated[
        int | None, typer.Option(help="train so many models, in OUT/fold-0, .., each without one fold of the data")
    ] = None,
    validation: Annotated[
        float, typer.Option(help="share of the data that is held out, on which the best epoch is chosen")
    ] = 0.0,
    patience: Annotated[int | None, typer.Option(help="epochs without a better one after which training ends")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    workers: Annotated[int, typer.Option(help="how many models are trained at once, each on one core")] = 1,
    quiet: Quiet = False,
) -> int:
    """Train a network that can be certified. The same command again resumes."""
    asked = Asked(
        recipe,
        data,
        setting=pairs("setting", setting or []),
        network=network,
        network_option=pairs("network option", network_option or []),
        seed=seed,
        seeds=seeds,
        folds=folds,
        validation=validation,
        patience=patience,
        workers=workers,
    )
    tune_process()
    from certify.training.several import train_asked, trainings_of

    trainings = trainings_of(asked, out, device)
    with resumable():
        train_asked(asked, trainings, observer(quiet))
    if not quiet:
        spec = out if network is None or not is_named(network) else f"{network}@{out}"
        typer.echo(f"model in {out}; next: certify run --model {spec} --data ... --out runs/first", err=True)
    return ExitCode.DONE
