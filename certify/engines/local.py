"""Processes on this machine, each with the model in it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from pebble import ProcessExpired, ProcessPool

from certify.bounded.memory import free_memory
from certify.engines.base import AHEAD, ENGINES, Engine, Lost, T, Work, check_limit, check_workers, in_flight, inputs_of
from certify.engines.parcel import unpacked, written
from certify.errors import BadInput

__all__ = ["Local"]

R = TypeVar("R")

WORKER: Final = 350 * 2**20
"""Bytes that a worker takes before it has done anything: Python, torch, and this package."""


@ENGINES.register("local")
@dataclass(frozen=True, slots=True)
class Local(Engine):
    """Processes on this machine that hold the model; this one writes the records.

    Args:
        workers: how many; None for as many as there are free cores, by the load of the last minute.
        input_timeout: seconds after which a task is given up, for each input in it; None for no limit.

    Raises:
        BadInput: for numbers that mean nothing, or more workers than memory has room for.
    """

    workers: int | None = None
    input_timeout: float | None = None

    def __post_init__(self) -> None:
        check_workers(self.workers)
        check_limit(self.input_timeout)

    def results(self, work: Work[T, R], tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, R | Lost]]:
        """See :meth:`Engine.results`. A worker that dies or hangs loses its task, and another takes its place."""
        with written(work) as parcel:
            workers = 1 if alone else self._workers(parcel.stat().st_size)
            threads = max(1, _cores() // workers)
            pool = ProcessPool(max_workers=workers, context=get_context("spawn"))
            try:
                start = partial(self._start, pool, parcel, threads)
                for task, handle in in_flight(tasks, AHEAD * workers, start, _finished):
                    yield task, _outcome(handle, self.input_timeout)
            finally:
                pool.stop()
                pool.join()

    def _start(self, pool: ProcessPool, parcel: Path, threads: int, task: Any) -> Future[Any]:
        limit = None if self.input_timeout is None else self.input_timeout * inputs_of(task)
        return pool.schedule(_carry_out, args=(str(parcel), threads, task), timeout=limit)

    def _workers(self, parcel: int) -> int:
        fit = max(1, free_memory() // (WORKER + parcel))
        if self.workers is None:
            return min(fit, max(1, _cores() - round(os.getloadavg()[0])))
        if self.workers > fit:
            raise BadInput(
                f"{self.workers} workers of at least {(WORKER + parcel) / 2**30:.1f} GiB do not fit into the "
                f"{free_memory() / 2**30:.1f} GiB that are free: give --workers {fit} at most"
            )
        return self.workers


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(handles: Sequence[Future[Any]]) -> Iterable[Future[Any]]:
    return wait(handles, return_when=FIRST_COMPLETED).done


def _outcome(handle: Future[Any], limit: float | None) -> Any:
    """What a task made, or why it was lost; what its work raised is raised."""
    try:
        return handle.result()
    except ProcessExpired as died:
        code = died.exitcode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        killed = "; the machine may be short of memory" if code == -signal.SIGKILL else ""
        return Lost(f"the process that worked on it ended with {how}{killed}")
    except TimeoutError:
        return Lost(f"it did not end within {limit:g} seconds an input")


def _carry_out(parcel: str, threads: int, task: Any) -> Any:
    """In a worker: the work is unpacked once, and then asked about one task after the other."""
    return _held(parcel, threads)(task)


@cache
def _held(parcel: str, threads: int) -> Work[Any, Any]:
    from certify.process import tune_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the one that writes decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tune_process()
    torch.set_num_threads(threads)
    return unpacked(Path(parcel))


def _end_with_parent() -> None:
    """A worker whose run was killed must not go on: nobody would write down what it makes."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
