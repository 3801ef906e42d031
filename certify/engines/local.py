"""Processes on this machine, each with the model in it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Final

import torch
from pebble import ProcessExpired, ProcessPool

from certify.bounded.memory import free_memory
from certify.device import CPU, how_many, see_one, shared
from certify.engines.base import (
    AHEAD,
    ENGINES,
    Crew,
    Engine,
    Lost,
    R,
    T,
    Work,
    check_limit,
    check_workers,
    in_flight,
    inputs_of,
)
from certify.engines.parcel import unpacked, written
from certify.errors import BadInput

__all__ = ["Local"]

WORKER: Final = 350 * 2**20
"""Bytes that a worker takes before it has done anything: Python, torch, and this package."""


@ENGINES.register("local")
@dataclass(frozen=True, slots=True)
class Local(Engine):
    """Processes on this machine that hold the model; this one writes the records.

    Args:
        workers: how many; None for one an accelerator where those do the work, or for as many as there are free
            cores, by the load of the last minute.
        input_timeout: seconds after which a task is given up, for each input in it; None for no limit.

    Raises:
        BadInput: for numbers that mean nothing, or more workers than memory has room for.
    """

    workers: int | None = None
    input_timeout: float | None = None

    def __post_init__(self) -> None:
        check_workers(self.workers)
        check_limit(self.input_timeout)

    @contextmanager
    def crew(self, work: Work[T, R], device: torch.device = CPU) -> Iterator[Crew[T]]:
        """See :meth:`Engine.crew`. A worker that dies or hangs loses its task, and another takes its place."""
        with written(work) as parcel:
            context, devices = get_context("spawn"), how_many(device) if shared(device) else 0
            workers = self._workers(parcel.stat().st_size, devices)
            # No more than here: who asks for one thread gets the same sums everywhere.
            told = str(parcel), max(1, min(torch.get_num_threads(), _cores() // workers))
            pool = ProcessPool(
                workers, initializer=_prepare, initargs=(*told, context.Value("i"), devices), context=context
            )
            try:
                yield _Processes(pool, told, workers, self.input_timeout)
            finally:
                pool.stop()
                pool.join()

    def _workers(self, parcel: int, devices: int) -> int:
        fit = max(1, free_memory() // (WORKER + parcel))
        if self.workers is None:
            return min(fit, devices or max(1, _cores() - round(os.getloadavg()[0])))
        if self.workers > fit:
            raise BadInput(
                f"{self.workers} workers of at least {(WORKER + parcel) / 2**30:.1f} GiB do not fit into the "
                f"{free_memory() / 2**30:.1f} GiB that are free: give --workers {fit} at most"
            )
        return self.workers


@dataclass(frozen=True, slots=True)
class _Processes:
    """A pool of processes; those that die are replaced.

    Args:
        pool: starts with the first task.
        told: what a worker has to know: the file that holds the work, and its number of threads.
        workers: how many there are.
        limit: seconds an input may take, or None.
    """

    pool: ProcessPool
    told: tuple[str, int]
    workers: int
    limit: float | None

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        for task, handle in in_flight(tasks, 1 if alone else AHEAD * self.workers, self._start, _finished):
            yield task, _outcome(handle, self.limit)

    def _start(self, task: Any) -> Future[Any]:
        limit = None if self.limit is None else self.limit * inputs_of(task)
        return self.pool.schedule(_carry_out, args=(*self.told, task), timeout=limit)


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
    except BrokenProcessPool as problem:
        raise BadInput(
            'no worker process could start: in a script, calls with workers belong under `if __name__ == "__main__":`, '
            "because every worker imports the script"
        ) from problem
    except TimeoutError:
        return Lost(f"it did not end within {limit:g} seconds an input")


def _prepare(parcel: str, threads: int, turn: Any, devices: int) -> None:
    """In a new worker, before any time limit begins. What cannot be unpacked is reported by the first task."""
    if devices:
        with turn.get_lock():
            see_one(turn.value, devices)
            turn.value += 1
    with suppress(Exception):
        _held(parcel, threads)


def _carry_out(parcel: str, threads: int, task: Any) -> Any:
    """In a worker: the work is unpacked once, and then asked about one task after the other."""
    try:
        return _held(parcel, threads)(task)
    except KeyboardInterrupt:  # Ctrl-C does not reach this process: the model raised it
        os._exit(1)


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
