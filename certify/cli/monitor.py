"""``certify monitor``: is a certificate still in force, after what a stream brought?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.cli.app import ExitCode, Quiet, app, pairs, resumable
from certify.cli.files import evidence_files, replacing, require_writable
from certify.core.monitoring import MONITOR_FORMATS, Force
from certify.errors import BadInput
from certify.process import tune_process
from certify.progress.observer import observer

__all__ = ["monitor"]


@app.command()
def monitor(
    run: Annotated[Path, typer.Argument(help="run folder: its model, inputs, threat and certifier")],
    stream: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="CSV or JSON lines that grow, a folder with a file for each input, or - for standard input; "
            "nothing new is read if not given",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="FILE.jsonl: the evidence so far; RUN/monitor.jsonl if not given")
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(help="what to watch: error,certified with labels, margin,p_A,radius without; a new file decides"),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="probability of ever raising a false alarm; 0.05 if not given")
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(help="at which answers should be certified; the smallest declared above 0 if not given"),
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(help="error=0.05: the risk that is no alarm yet; the run's upper confidence limit if not given"),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="watch the error of each group: label, FILE.csv:COLUMN or FILE.npz:ARRAY")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="FILE.html: a page with the e-values over time")] = None,
    junit: Annotated[Path | None, typer.Option(help="FILE.xml: for continuous integration")] = None,
    prometheus: Annotated[Path | None, typer.Option(help="FILE.prom: what Prometheus reads")] = None,
    model: Annotated[str | None, typer.Option(help="SPEC of the model, in place of the manifest's")] = None,
    data: Annotated[str | None, typer.Option(help="SPEC of the data, in place of the manifest's")] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown, html, latex or junit")] = "table",
    quiet: Quiet = False,
) -> int:
    """Take in what is new in a stream, and say whether the certificate is in force, in doubt or expired.

    False alarms have probability alpha over the whole life. Exit code 0: in force; 1: in doubt or expired.
    """
    render = MONITOR_FORMATS[format]
    read = [*evidence_files(run), *([] if stream in (None, "-") else [Path(str(stream))])]
    kept = run / "monitor.jsonl" if state is None else state
    require_writable({"--state": kept, "--html": html, "--junit": junit, "--prometheus": prometheus}, read)
    tolerances = (
        None
        if tolerance is None
        else {name: _share(name, one) for name, one in pairs("--tolerance", tolerance).items()}
    )
    tune_process()
    from certify.deployment.monitor.monitor import Monitor
    from certify.deployment.monitor.stream import require_source

    if stream is not None:
        require_source(stream)
    with (
        resumable("what was taken in is kept, and the same command goes on"),
        Monitor(
            run,
            kept,
            alpha=alpha,
            watch=None if watch is None else tuple(one.strip() for one in watch.split(",")),
            radius=radius,
            tolerance=tolerances,
            group=group,
            model=model,
            data=data,
            progress=observer(quiet),
        ) as opened,
    ):
        found = opened.report() if stream is None else opened.follow(stream)
    if html is not None:
        from certify.report.page.monitor import monitor_page

        _write("--html", html, monitor_page(found))
    if junit is not None:
        _write("--junit", junit, f"{MONITOR_FORMATS['junit'](found)}\n")
    if prometheus is not None:
        from certify.report.monitor import prometheus as lines_of

        _write("--prometheus", prometheus, lines_of(found))
    typer.echo(render(found))
    return ExitCode.DONE if found.force is Force.IN_FORCE else ExitCode.FAILED


def _share(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as problem:
        raise BadInput(f"--tolerance {name}={text} is no number; error=0.05 is one error in 20") from problem


def _write(option: str, path: Path, text: str) -> None:
    with replacing(option, path) as file:
        file.write(text.encode())
