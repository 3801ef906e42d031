"""``certify verify``: one property of one network, decided by the conventions of verification tools."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certify.cli.answering import CLEAR, Answering, answering, ticking
from certify.cli.app import Caller, ExitCode, Quiet, app, resumable
from certify.cli.files import remove_earlier, require_files
from certify.core.evidence import Claim
from certify.core.legible import many
from certify.core.whole import write_whole
from certify.errors import BadInput
from certify.process import importing, leave, limit_memory, tune_process
from certify.progress.observer import observer

if TYPE_CHECKING:
    from certify.complete.verify_file import Verification

__all__ = ["named_files", "verify"]

_ANSWER_MARGIN, _SEARCH_MARGIN = 0.2, 0.4
"""Seconds before the limit. The process answers ``timeout`` at the first, whatever it is doing; the search should stop
by itself at the second. The answer takes a moment to arrive, and one that arrives late counts as none."""


_SEARCH_OPTIONS = ("claim", "seed", "timeout", "proof", "stats")
"""Options about a search, which ``--check`` refuses: it searches nothing."""


def _above_zero(seconds: float) -> float:
    if not seconds > 0:  # NaN is not
        raise typer.BadParameter(f"the time limit must be above 0 seconds, got {seconds:g}")
    return seconds


@app.command(cls=Answering)
def verify(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="NET.onnx PROP.vnnlib, each plain or .gz; or PROP.vnnlib with --network")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NET.onnx", help="the network, and what the property calls it")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="seconds for everything, start-up included", callback=_above_zero)
    ] = 60.0,
    claim: Annotated[
        Claim, typer.Option(help="what unsat is about: exact real arithmetic, or float32, every execution as well")
    ] = "exact",
    seed: Annotated[int, typer.Option(help="what the search for a witness draws from")] = 0,
    stats: Annotated[
        Path | None, typer.Option(help="JSON file for the solver's name, subproblems, and where the time went")
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(help="JSON file for the proof or the witness, which --check confirms later")
    ] = None,
    instances: Annotated[
        Path | None, typer.Option(help="CSV of NET.onnx,PROP.vnnlib,SECONDS: decide them all; needs --out")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON lines of the answers; the same command resumes")] = None,
    engine: Annotated[
        str | None, typer.Option(help="of --instances: local (default), serial or ray, as for run")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="of --instances: how many; the free cores if not given (local, ray)")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="of --instances: a Ray cluster, HOST:PORT")] = None,
    input_timeout: Annotated[
        str | None,
        typer.Option(help="of --instances: 30s or 5m, after which a process that is still busy is ended (local, ray)"),
    ] = None,
    quiet: Quiet = False,
    check: Annotated[
        Path | None, typer.Option(help="confirm what --proof wrote, bound by bound, instead of searching")
    ] = None,
) -> int:
    """Is there an input that PROP.vnnlib allows and whose output is as it asks?

    The first line says sat, and the witness follows; unsat, which is proven; unknown; timeout; or error, and one line
    on standard error says why. The exit code is 0 after an answer, unknown and timeout included, and 2 after an error.

    With --check it says confirmed and what was confirmed, exit code 0; or refuted and why, exit code 1. That takes as
    long as it takes, and no option about the search goes with it.

    With --instances it decides every row of a file, as many at a time as there are workers, keeps each answer at once,
    and ends with a table: exit code 0, or 3 where some ended with an error, which the same command tries again.
    """
    if instances is not None:
        where = {"workers": workers, "ray_address": ray_address, "input_timeout": input_timeout}
        return _decide_all(context, instances, out, engine, where, claim, seed, quiet)
    if given := _given(context, ("out", "engine", "workers", "ray_address", "input_timeout")):
        raise BadInput(f"--{given[0]} goes with --instances; one property is decided by all cores at once")
    with answering(math.inf):  # before the clock runs, so that a timeout leaves no file of an earlier run
        net, prop, name = named_files(files or [], network or [])
        require_files(net, prop)
        if check is not None:
            require_files(check)
            _refuse_searching(context)
        remove_earlier({"--proof": proof, "--stats": stats}, (net, prop))
    if check is not None:
        return _confirm(check, net, prop)
    caller: Caller = context.obj
    begin = caller.begin
    tune_process()
    terminal = sys.stderr.isatty()
    late = f"{CLEAR}{_too_short(timeout)}\n" if terminal else ""
    with answering(begin + timeout - _ANSWER_MARGIN - time.monotonic(), late) as say:
        if terminal:
            typer.echo(f"verifying {prop} of {net}", err=True)
        with ticking(begin, timeout):
            with importing():
                import torch

                from certify.bounded.memory import free_memory
                from certify.bounds.deadline import Deadline
                from certify.complete.verify_file import Seconds, verify_file
            limit_memory(free_memory())
            start_up = Seconds(time.monotonic() - begin, time.process_time())
            deadline = Deadline(max(timeout - _SEARCH_MARGIN, 1e-9), begin)
            found = verify_file(
                net, prop, timeout=deadline, claim=claim, seed=seed, workers=torch.get_num_threads(), name=name
            )
        say(f"{found.answer.outcome}\n{found.witness}".rstrip())
    if terminal:
        typer.echo(_sentence(found, timeout), err=True)
    try:
        if proof is not None:
            from certify.complete.proofs.file import write_proof

            write_proof(proof, found, net, prop, claim=claim, seed=seed)
    finally:  # a failure to write one file does not lose the other
        if stats is not None:
            _write(stats, found, start_up)
    if caller.alone:
        leave(ExitCode.DONE)
    return ExitCode.DONE


def _decide_all(
    context: typer.Context,
    file: Path,
    out: Path | None,
    engine: str | None,
    where: dict[str, Any],
    claim: Claim,
    seed: int,
    quiet: bool,
) -> ExitCode:
    if given := _given(context, ("files", "network", "timeout", "stats", "proof", "check")):
        raise BadInput(f"{', '.join(given)} is about one property: leave it out beside --instances")
    if out is None:
        raise BadInput("name a file for the answers with --out, for example --out answers.jsonl")
    tune_process()
    from certify.engines.base import engine_from
    from certify.study.instances import read_instances, table_of, verify_instances
    from certify.study.settings import duration

    if (limit := where["input_timeout"]) is not None:
        where["input_timeout"] = duration("input-timeout", limit)
    crew = engine_from(engine or (None if where["ray_address"] else "local"), **where)
    rows = read_instances(file)
    with resumable():
        found = verify_instances(rows, out, crew, claim=claim, seed=seed, progress=observer(quiet))
    typer.echo(table_of(found))
    return ExitCode.INCOMPLETE if any(one.outcome == "error" for one in found) else ExitCode.DONE


def named_files(files: Sequence[Path], networks: Sequence[str]) -> tuple[Path, Path, str | None]:
    """The network, the property, and what the property should call the network if that was said.

    Raises:
        BadInput: unless there is one of each.

    >>> named_files([Path("net.onnx"), Path("p.vnnlib")], [])
    (PosixPath('net.onnx'), PosixPath('p.vnnlib'), None)
    >>> named_files([Path("p.vnnlib")], ["N=net.onnx"])
    (PosixPath('net.onnx'), PosixPath('p.vnnlib'), 'N')
    """
    pairs = [text.partition("=") for text in networks]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise BadInput(f"--network {name}{equals}{path} is not NAME=NET.onnx")
    match files, pairs:
        case [net, prop], []:
            return net, prop, None
        case [prop], [(name, _, path)]:
            return Path(path), prop, name
        case _, [_, _, *_]:
            raise BadInput(f"{len(pairs)} networks; properties of one are decided")
    raise BadInput("name a network and a property: NET.onnx PROP.vnnlib, or PROP.vnnlib --network NAME=NET.onnx")


def _confirm(proof: Path, network: Path, prop: Path) -> ExitCode:
    """Print ``confirmed`` and what was, or ``refuted:`` and why; ``error`` for a file that states no answer."""
    tune_process()
    with answering(math.inf) as say:
        with importing():
            from certify.bounded.memory import free_memory
            from certify.complete.proofs.file import check_proof
        limit_memory(free_memory())
        terminal = sys.stderr.isatty()

        def progress(done: int, total: int) -> None:
            if terminal:
                typer.echo(f"{CLEAR}{done:,} of {many(total, 'part')}", nl=False, err=True)

        found = check_proof(proof, network, prop, progress)
        if terminal:
            typer.echo(CLEAR, nl=False, err=True)
        about = "" if found.outcome == "sat" else f" ({found.claim})"
        say(f"refuted: {found.fault}" if found.fault else f"confirmed\n{found.outcome}{about}")
    return ExitCode.DONE if found.confirmed else ExitCode.FAILED


def _refuse_searching(context: typer.Context) -> None:
    for name in _given(context, _SEARCH_OPTIONS):
        raise BadInput(f"--check searches nothing, so --{name} does not go with it; leave one of them out")


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Those of some options that were given, as they are written."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [
        name.replace("_", "-") for name, source in sources.items() if source is not None and source.name != "DEFAULT"
    ]


def _sentence(found: Verification, timeout: float) -> str:
    answer = found.answer
    how = f"by {answer.solver}, {many(answer.subproblems, 'subproblem')}, {found.deciding.wall:.2f} s"
    match answer.outcome:
        case "sat":
            return f"such an input exists; onnxruntime was run on it once more ({how})"
        case "unsat":
            return f"no such input exists: proven ({how})"
        case "timeout":
            return f"{_too_short(timeout)} ({how})"
    return f"neither found nor proven: {answer.reason} ({how})"


def _too_short(timeout: float) -> str:
    return f"neither found nor proven within {timeout:g} s; --timeout gives it more"


def _write(path: Path, found: Verification, start_up: tuple[float, float]) -> None:
    parts = {"start_up": start_up, "reading": found.reading, "deciding": found.deciding}
    seconds = {part: {"wall": wall, "cpu": cpu} for part, (wall, cpu) in parts.items()}
    answer = found.answer
    content = {"outcome": answer.outcome, "solver": answer.solver, "subproblems": answer.subproblems}
    try:
        write_whole(path, json.dumps({**content, "reason": answer.reason, "seconds": seconds}) + "\n")
    except OSError as problem:
        raise BadInput(f"cannot write {path} ({problem.strerror}); choose another --stats") from problem
