"""``certify run``: certify and attack a data set into a run folder; the same command resumes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from certify.cli.app import ExitCode, Quiet, Verbose, app, exit_code, pairs, resumable
from certify.core.summary import Summary
from certify.errors import IncompleteRun
from certify.process import tune_process
from certify.progress.observer import Observer, observer
from certify.study.settings import Settings, model_folder, read_toml, sweep
from certify.training.asked import Asked

__all__ = ["run"]


@app.command()
def run(
    study: Annotated[Path | None, typer.Argument(help="STUDY.toml, with the flags' names as keys")] = None,
    model: Annotated[
        str | None,
        typer.Option(help=r"folder of `certify train`, FILE.onnx, FILE.pt2, or package.module:function\[@WEIGHTS]"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help=r"digits\[:train], mnist5k\[:train], idx:FOLDER\[:train], npz:FILE, csv:FILE\[:COLUMN], "
            "images:FOLDER, stress:FILE.json, package.module:function"
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="of a model that expects normalized inputs: one number, or one a channel: 0.49,0.48,0.45; or "
            "imagenet, cifar10 or mnist for both. Inputs and radii stay in raw units"
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(help="its standard deviation, in the same form")] = None,
    certifier: Annotated[
        str | None,
        typer.Option(
            help="smoothing (default); or a proof, cheap to tight: ibp, crown-ibp, crown, alpha-crown-last, "
            "alpha-crown; auto: each where needed; lipschitz (l2); complete: branch and bound; several: ibp,crown"
        ),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="l2, linf or l1; default: l2 for smoothing, linf for bounds")] = None,
    radii: Annotated[
        str | None, typer.Option(help="declared radii in input units, ascending: 0,0.25,0.5 or 2/255,8/255")
    ] = None,
    threat: Annotated[
        str | None,
        typer.Option(help="lp (default): a ball of a norm; features or categories: as many change as a radius says"),
    ] = None,
    property: Annotated[
        str | None,
        typer.Option(help="what has to stay true: top-class (default), top-k, never, superclass, rows, within"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="name=value for the threat, the property or the certifier, such as k=3 or threat.groups=0:3,3:8"
        ),
    ] = None,
    input_box: Annotated[
        str | None,
        typer.Option(help="bounds of the features where the data state none: 0,1 or FILE.npy, two rows of them"),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="FILE.npy, one number >= 0 a feature that radii multiply; 0: immutable (bounds)")
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(help="what the inputs are in, in words: 'pixels in \\[0, 1]'; runs to compare share it"),
    ] = None,
    sigma: Annotated[
        str | None,
        typer.Option(
            help="noise scale in input units; several, 0.12,0.25,0.5, make a run each in OUT/sigma-0.12, .. (smoothing)"
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="most estimation samples per input, 100,000 if not given (smoothing)")
    ] = None,
    n0: Annotated[
        int | None, typer.Option(help="selection samples per input where draws select, 100 if not given (smoothing)")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="probability that one certificate is false, 0.001 if not given (smoothing)")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="gaussian, gaussian-grid, laplace or uniform; ablation hides features (smoothing)"),
    ] = None,
    retention: Annotated[
        int | None, typer.Option(help="how many features, or groups of them, ablation keeps (smoothing)")
    ] = None,
    null: Annotated[
        str | None, typer.Option(help="what hidden features become: one number, 0 if not given, or one a feature")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="declared (default): stop when the radii are decided; fixed: always n samples")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="what names the class: label, draws or votes (smoothing)")
    ] = None,
    bound: Annotated[str | None, typer.Option(help="of the runner-up: one-sided or runner-up (smoothing)")] = None,
    looks: Annotated[str | None, typer.Option(help="a schedule of your own: 1000,10000,100000 (smoothing)")] = None,
    look_alphas: Annotated[str | None, typer.Option(help="its alphas, which sum to alpha (smoothing)")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="samples per forward pass; results do not depend on it")
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option(help="exact (default): exact arithmetic; float32: every float32 execution as well (bounds)"),
    ] = None,
    decide: Annotated[
        bool | None, typer.Option("--decide", help="decide the declared radii, search no further (bounds, complete)")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="seconds per input; 60 if not given (complete), no limit (bounds)")
    ] = None,
    gap: Annotated[
        float | None,
        typer.Option(help="how near proof and example should come, relative; 0.01 if not given (complete)"),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="bytes to stay within, about: 4G; half of what is free if not given (bounds)")
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            help="none (default), or one that `certify supports --threats` lists, such as pgd; of others art:CLASS, "
            "foolbox:CLASS, or package.module:function"
        ),
    ] = None,
    attack_option: Annotated[
        list[str] | None, typer.Option(help="name=value for the attack, such as steps=100")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="a seeded random subset of this many inputs")] = None,
    seed: Annotated[
        int | None, typer.Option(help="master seed; derived from model, data and settings if not given")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="i/n: the i-th of n parts, counted from 0, in lots of 32 inputs, or of one (complete)"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu (default) or cuda")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32 (default), tf32 (cuda) or bfloat16: another function, which is what is certified"),
    ] = None,
    compile: Annotated[
        bool | None, typer.Option("--compile", help="torch.compile the model: another function in the last digits")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="serial (default): this process; local: worker processes; ray: a Ray cluster")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="how many hold the model; the cores that are free if not given (local, ray)")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="of a Ray cluster, HOST:PORT; without one, Ray is started on this machine")
    ] = None,
    input_timeout: Annotated[
        str | None,
        typer.Option(
            help="30s or 5m per input of its group, after which a group is given up, then tried one by one (local, ray)"
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="which inputs come first: given (default), cheapest or hardest, by their margin")
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="2h or 90m, after which no more input is begun; the same command resumes")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="run folder")] = None,
    label: Annotated[str | None, typer.Option(help="name of this run in tables and plots; default: its folder")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Certify every input, attack it, and keep each record at once. The same command again resumes."""
    flags: dict[str, Any] = dict(locals())  # every parameter is a setting of a study, except these three
    del flags["study"], flags["quiet"], flags["verbose"]
    flags |= {
        "option": pairs("option", option or []) or None,
        "attack_option": pairs("attack option", attack_option or []) or None,
        "out": None if out is None else str(out),
    }
    given = {} if study is None else read_toml(study)
    if flags["option"] is not None and isinstance(there := given.get("option"), dict):
        flags["option"] = {**there, **flags["option"]}
    given |= {name: value for name, value in flags.items() if value is not None}
    given = {name.replace("_", "-"): value for name, value in given.items()}
    asked = sweep(given)

    told = observer(quiet, verbose)
    tune_process()
    from certify.bounds.deadline import Deadline
    from certify.engines.base import engine_from
    from certify.engines.shared import one_crew
    from certify.study.evaluate import studies_from
    from certify.study.read import read_runs
    from certify.study.replicates import over_seeds

    first, _ = asked[0]
    where = engine_from(**first.engine_settings)
    if first.train is not None:
        _train(first.train, asked, Path(model_folder(given)), told)
    budget = Deadline(math.inf if first.time_budget is None else first.time_budget)
    # All are built before the first begins: what cannot be right is said before any work.
    studies = studies_from([settings for settings, _ in asked], command=sys.argv)
    works = [built.carry_out for built in studies]
    with resumable(), one_crew(where, works, studies[0].classifier.device) as crews:
        order, otherwise, summaries = first.order or "given", ExitCode.DONE, dict[str, Summary]()
        for built, (_, folder), crew in zip(studies, asked, crews, strict=True):
            result = built.run(folder, told, crew, order=order, deadline=budget)
            if not result.expected:  # an empty shard has no table, and nothing to do
                continue
            try:
                summaries[folder] = result.summary
            except IncompleteRun as late:
                told.warn(f"{folder}: {late}")
                otherwise = ExitCode.INCOMPLETE
    folders = " ".join(summaries)
    if len(summaries) == 1:
        typer.echo(summaries[folders].table())
        hint = f"certify summary {folders} --format json"
    elif summaries:
        from certify.report.terminal import print_runs

        seeds, notes = over_seeds([*summaries])
        for note in notes:
            told.warn(note)
        for one in seeds:
            typer.echo(f"{one}\n")
        print_runs(read_runs([*summaries]), sys.stdout)
        hint = f"certify summary {given['out'] if seeds else folders + ' --envelope'}"
    if summaries and not quiet:
        typer.echo(f"records in {folders}; next: {hint}", err=True)
    return exit_code(*summaries.values()) or otherwise


def _train(train: Asked, runs: Sequence[tuple[Settings, str]], folder: Path, told: Observer) -> None:
    """Train what a study certifies, after whatever can be refused without the model was checked."""
    from certify.study.evaluate import check_asked
    from certify.training.several import train_asked, trainings_of

    trainings = trainings_of(train, folder, runs[0][0].device)
    check_asked([settings for settings, _ in runs])
    with resumable():
        train_asked(train, trainings, told)
