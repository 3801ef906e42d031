"""``certify audit``: what published logs say about themselves, and whether published claims hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from certify.cli.app import ExitCode, Quiet, Verbose, app, resumable
from certify.cli.import_log import attack_sizes
from certify.core.audited import Audit
from certify.core.values import one_of
from certify.errors import BadInput
from certify.process import importing, limit_memory, tune_process
from certify.progress.observer import observer
from certify.report.audit import audit_text
from certify.report.audit_claims import AUDIT_FORMATS
from certify.store.brackets import EPS, LOWER
from certify.store.tables import first_cells
from certify.study.audit import LogAudit, audit_log

__all__ = ["audit"]

Kind = Literal["log", "verdicts", "robustness"]

_WORDS: dict[Kind, str] = {
    "log": "a smoothing log",
    "verdicts": "a table of verdicts",
    "robustness": "a table of robustness",
}

_SEARCHING = ("prove", "timeout", "seed", "out", "quiet", "verbose")
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "log": ("sigma", "attack"),
    "verdicts": ("instances", "root", "tool", *_SEARCHING),
    "robustness": ("model", "data", "mean", "std", "norm", "only", *_SEARCHING),
}
"""The options that go with each kind of file."""


@app.command()
def audit(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="smoothing or attack log; results.csv of verification tools; or a table of robustness by eps"
        ),
    ],
    sigma: Annotated[float | None, typer.Option(help="scale of the gaussian noise behind a log")] = None,
    attack: Annotated[
        list[str] | None, typer.Option(metavar="FILE=EPS", help="attack log to hold against a log, and its size")
    ] = None,
    instances: Annotated[
        Path | None, typer.Option(help="CSV of NET.onnx,PROP.vnnlib,SECONDS that the verdicts are about")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="where the names of networks and properties begin; the CSV's folder if not given"),
    ] = None,
    tool: Annotated[str | None, typer.Option(help="whose verdicts: picks its rows where a column tool says")] = None,
    model: Annotated[
        str | None, typer.Option(help="SPEC of the model that the robustness is about, as for run")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="SPEC of its inputs, as for run; index is the position there")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="of a model that expects normalized inputs, as for run")] = None,
    std: Annotated[str | None, typer.Option(help="its standard deviation")] = None,
    norm: Annotated[str | None, typer.Option(help="of eps: linf, l2 or l1")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="rows of a table about several models: network=NET.onnx"),
    ] = None,
    prove: Annotated[int, typer.Option(metavar="K", help="claims to prove again, drawn evenly from the families")] = 0,
    timeout: Annotated[float, typer.Option(help="seconds for each search")] = 10.0,
    seed: Annotated[int, typer.Option(help="of the draw and of the searches")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for the counterexamples that refute a claim")] = None,
    format: Annotated[str, typer.Option(help="table, json, or markdown (not of logs)")] = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Hold published results against what can be found out: radii of logs, verdicts of tools, robustness by eps.

    Of a log, it says which n and alpha fit the radii, and which claims an attack log makes impossible. Of verdicts and
    of robustness, every claim is attacked and a sample is proven again. Exit code 4: a claim was refuted, or the file
    contradicts itself; 3: interrupted, or some claim could not be examined.
    """
    kind = _kind(file)
    _refuse_others(context, file, kind)
    if kind == "log":
        return _audit_log(file, sigma, attack or [], format)
    render, told = AUDIT_FORMATS[format], observer(quiet, verbose)
    tune_process()
    with importing():
        import torch

        from certify.bounded.memory import free_memory
    limit_memory(free_memory())
    how: dict[str, Any] = {"prove": prove, "timeout": timeout, "seed": seed, "out": out, "progress": told}
    how["workers"] = torch.get_num_threads()
    with resumable("nothing was examined yet"):  # once something is, the audit ends with what is known
        if kind == "verdicts":
            from certify.study.audit_verdicts import audit_verdicts

            found = audit_verdicts(file, instances=instances, root=root, tool=tool, **how)
        else:
            found = _audit_robustness(file, model, data, (mean, std), norm, only or [], how)
    typer.echo(render(found))
    return ExitCode.CONTRADICTION if found.contradicted else ExitCode.DONE if found.complete else ExitCode.INCOMPLETE


def _kind(file: Path) -> Kind:
    """What a file is, by its first line; a log where it is no table, so that its reader says what is wrong."""
    cells = [cell.lower() for cell in first_cells(file)]
    if "vnnlib" in cells or any(cell.endswith((".vnnlib", ".vnnlib.gz")) for cell in cells):
        return "verdicts"
    return "robustness" if {*cells} & {*EPS, *LOWER} else "log"


def _refuse_others(context: typer.Context, file: Path, kind: Kind) -> None:
    """Refuse options that go with another kind of file.

    Raises:
        BadInput: naming the first.
    """
    for other, options in _OPTIONS.items():
        for name in options:
            source = context.get_parameter_source(name)
            if name not in _OPTIONS[kind] and source is not None and source.name != "DEFAULT":
                raise BadInput(
                    f"--{name} goes with {_WORDS[other]}, and {file} is {_WORDS[kind]} by its first line: "
                    "leave it out, or name the columns that docs/logs.md lists"
                )


def _audit_log(log: Path, sigma: float | None, attack: Sequence[str], format: str) -> ExitCode:
    one_of("audit format", format, ("json", "table"))
    found = audit_log(log, sigma, attack_sizes(attack))
    typer.echo(json.dumps(found.to_dict(), indent=2) if format == "json" else audit_text(found))
    impossible = isinstance(found, LogAudit) and any(one.impossible for one in found.attacks)
    return ExitCode.CONTRADICTION if impossible else ExitCode.DONE


def _audit_robustness(
    file: Path,
    model: str | None,
    data: str | None,
    normalized: tuple[str | None, str | None],
    norm: str | None,
    only: Sequence[str],
    how: dict[str, Any],
) -> Audit:
    if model is None or data is None or norm is None:
        missing = next(name for name, value in (("model", model), ("data", data), ("norm", norm)) if value is None)
        raise BadInput(
            f"{file} says how robust a model is on some inputs: name them with --model, --data and --norm; "
            f"--{missing} is missing"
        )
    chosen = dict(_pair(text) for text in only)
    from certify.data.loaders import load_data
    from certify.models.loaders import load_model
    from certify.study.audit_brackets import audit_brackets

    dataset = load_data(data)
    mean, std = normalized
    classifier = load_model(model, num_classes=dataset.num_classes, input_box=dataset.input_box, mean=mean, std=std)
    return audit_brackets(file, classifier, dataset, norm, only=chosen, **how)


def _pair(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals):
        raise BadInput(f"--only {text!r} is not COLUMN=VALUE, for example network=net.onnx")
    return column.lower(), value
