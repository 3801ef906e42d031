"""Processes on this machine, each with the model in it."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import torch

from certify.bounded.memory import free_memory, memory_of
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
from certify.errors import BadInput, one_line
from certify.named import current_directory_importable
from certify.process import end_with_parent

__all__ = ["Local"]

WORKER: Final = 350 * 2**20
"""Bytes that a worker takes before it has done anything: Python, torch, and this package."""

LOOKED_AT: Final = 0.1
"""Seconds between two looks at the time and the memory that workers take."""

FORSAKEN: Final = 255
"""The exit code of workers whose fork server was killed, which cannot say any more how they end."""

STARTS: Final = 5
"""How often in a row workers may die before they are ready: the machine kills some, but not all."""


@ENGINES.register("local")
@dataclass(frozen=True, slots=True)
class Local(Engine):
    """Processes on this machine that hold the model; this one writes the records.

    Args:
        workers: how many; None for one an accelerator where those do the work, or for as many as there are free
            cores, by the load of the last minute.
        input_timeout: seconds per input of a task after which the task is given up; None for no limit.

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
        """See :meth:`Engine.crew`. A worker that dies or hangs loses its task, and another takes its place.

        Beside others, a worker may fill its share of the memory that was free before; alone, all that is free then.
        """
        with written(work) as parcel:
            size, free, devices = parcel.stat().st_size, free_memory(), how_many(device) if shared(device) else 0
            workers = self._workers(size, devices)
            # No more than here: who asks for one thread gets the same sums everywhere.
            threads = max(1, min(torch.get_num_threads(), _cores() // workers))
            room = max(free // workers, WORKER + size)
            crew = _Processes((str(parcel), threads, devices), workers, self.input_timeout, room)
            try:
                yield crew
            finally:
                crew.dismiss()

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


@dataclass(slots=True, eq=False)
class _Given:
    """A task in the hands of a worker, and what it made of it. Answers name its number: a worker may send one twice."""

    number: int
    task: Any
    made: Any = None


@dataclass(slots=True, eq=False)
class _Worker:
    """A process with a pipe of its own: nothing that it leaves half done when it dies concerns another.

    Args:
        place: its number among the workers.
        process, pipe: it, and this end of the way to it.
        given: tasks that it has, the one that it works on first.
        since: when it became ready for that one; None while it starts.
    """

    place: int
    process: BaseProcess
    pipe: Connection
    given: deque[_Given] = field(default_factory=deque)
    since: float | None = None

    def give(self, given: _Given) -> None:
        """Hand it a task; of one that has died, somebody else takes it over."""
        if not self.given and self.since is not None:
            self.since = time.monotonic()
        self.given.append(given)
        with suppress(OSError):
            self.pipe.send((given.number, given.task))

    def answers(self) -> Iterator[tuple[int | None, Any]]:
        """What it has sent, as long as there is something: the number of a task, and what it made of it."""
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                number, made = self.pipe.recv()
                try:
                    yield number, pickle.loads(made)  # noqa: S301 - from a process of our own
                except Exception as problem:  # somebody else's objects may raise anything
                    yield number, RuntimeError(f"what a worker made cannot be read here ({one_line(problem)})")

    def dismiss(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass(slots=True, eq=False)
class _Processes:
    """Some processes; those that die are replaced.

    Args:
        told: what a worker has to know: the file that holds the work, its number of threads, and how many accelerators
            there are to share.
        count: how many there are.
        limit: seconds an input may take, or None.
        share: bytes that each may fill beside the others.
    """

    told: tuple[str, int, int]
    count: int
    limit: float | None
    share: int
    workers: list[_Worker] = field(default_factory=list, init=False)
    begun: list[BaseProcess] = field(default_factory=list, init=False)
    """All that ever were, noted before they start: SIGTERM may come at any moment."""
    stillborn: int = field(default=0, init=False)
    """How many died in a row before they were ready."""
    numbers: Iterator[int] = field(default_factory=itertools.count, init=False)
    """Of tasks."""

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        held = max((memory_of(worker.process.pid) for worker in self.workers), default=0)  # which is not free
        room = max(self.share, free_memory() + held) if alone else self.share

        def finished(handles: Sequence[_Given]) -> list[_Given]:
            while not (
                done := [one for worker in [*self.workers] for one in self._ended(worker, room) if one in handles]
            ):
                ways = [way for worker in self.workers for way in (worker.pipe, worker.process.sentinel)]
                wait(ways, LOOKED_AT)
            return done

        for task, given in in_flight(tasks, 1 if alone else AHEAD * self.count, self._start, finished):
            if isinstance(given.made, Exception):
                raise given.made
            yield task, given.made

    def _start(self, task: Any) -> _Given:
        """Give a task to the worker with the fewest."""
        if not self.workers:
            self.workers = [self._made(place) for place in range(self.count)]
        given = _Given(next(self.numbers), task)
        min(self.workers, key=lambda worker: len(worker.given)).give(given)
        return given

    def _made(self, place: int) -> _Worker:
        # One process imports what this one has of the package, torch with it, and all workers are forks of that one:
        # they start at once and share its memory.
        context: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
        context.set_forkserver_preload(sorted(name for name in sys.modules if name.startswith("certify.")))
        pipe, other = context.Pipe()
        process = context.Process(target=_serve, args=(*self.told, place, dict(os.environ), other))
        self.begun.append(process)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the new process ignores it
        try:
            process.start()
        except (ConnectionError, EOFError):  # the fork server was killed; the next start begins another
            self._refuse_stillborn(FORSAKEN)
            return self._made(place)
        except OSError as problem:
            raise BadInput(f"no worker process could start ({one_line(problem)}): give fewer --workers") from problem
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()  # what a dead worker held open would never end
        return _Worker(place, process, pipe)

    def _ended(self, worker: _Worker, room: int) -> Iterator[_Given]:
        """The tasks that a worker has done, or lost; another takes the place of one that died or takes too much."""
        alive = worker.process.is_alive()  # asked first: what it sent before it died is there afterwards
        for number, made in worker.answers():
            if worker.given and worker.given[0].number == number:
                done = worker.given.popleft()
                done.made = made
                yield done
            worker.since, self.stillborn = time.monotonic(), 0
        why = self._excess(worker, room) if alive else _death(worker.process.exitcode or 0)
        if not why:
            return
        worker.dismiss()
        if worker.since is not None and worker.given:
            lost = worker.given.popleft()
            lost.made = Lost(why)
            yield lost
        elif worker.since is None:
            self._refuse_stillborn(worker.process.exitcode or 0)
        self.workers[worker.place] = heir = self._made(worker.place)
        for one in worker.given:
            heir.give(one)

    def _excess(self, worker: _Worker, room: int) -> str:
        """In what a worker takes too much for its task, in words; empty where it does not."""
        if worker.since is None or not worker.given:
            return ""
        if self.limit is not None and time.monotonic() - worker.since > self.limit * inputs_of(worker.given[0].task):
            return f"it did not end within {self.limit:g} seconds an input"
        if memory_of(worker.process.pid) > room:
            return f"the process that worked on it took more than {room / 2**30:.1f} GiB of memory"
        return ""

    def _refuse_stillborn(self, code: int) -> None:
        """Nothing, as long as it may have been chance that a worker died before it was ready."""
        self.stillborn += 1
        killed = code < 0 or code == FORSAKEN
        if killed and self.stillborn < STARTS:
            return
        script = 'in a script, calls with workers belong under `if __name__ == "__main__":`: every worker imports it'
        advice = "give fewer --workers" if killed else script
        raise BadInput(f"no worker process could start ({_death(code)}): {advice}")

    def dismiss(self) -> None:
        """End all of them."""
        for process in self.begun:
            if process.pid is not None:
                process.kill()
                process.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _death(code: int) -> str:
    """How a process ended, in words."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    killed = "; the machine may be short of memory" if code == -signal.SIGKILL else ""
    return f"the process that worked on it ended with {how}{killed}"


def _serve(
    parcel: str, threads: int, devices: int, place: int, environment: Mapping[str, str], pipe: Connection
) -> None:
    """A worker: the work is unpacked once, before any time limit begins, and asked about one task after the other.

    What cannot be unpacked is reported by the first task. The process that it is a fork of may have started long ago,
    so it is told what stands in the environment now.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the one that writes decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with_parent()
    os.register_at_fork(after_in_child=pipe.close)  # nobody that the model starts answers in its place
    if devices:
        see_one(place, devices)
    with suppress(Exception):
        _held(parcel, threads)
    with suppress(EOFError, OSError):  # whoever asked has ended
        pipe.send((None, pickle.dumps(None)))
        while True:
            number, task = pipe.recv()
            pipe.send((number, _packed(_carry_out(parcel, threads, task))))


def _packed(made: Any) -> bytes:
    """What a worker made in a form that can be read elsewhere; an error as the nearest kind of which that is true."""
    try:
        content = pickle.dumps(made)
        if isinstance(made, Exception):
            pickle.loads(content)  # noqa: S301 - made above
        return content
    except Exception as problem:  # somebody else's objects may raise anything
        why = problem
    if not isinstance(made, Exception):
        made = RuntimeError(f"{type(made).__name__} cannot leave its process ({one_line(why)})")
    for kind in type(made).__mro__:
        with suppress(Exception):
            content = pickle.dumps(kind(str(made)))
            pickle.loads(content)  # noqa: S301 - made above
            return content
    return pickle.dumps(RuntimeError(one_line(made)))


def _carry_out(parcel: str, threads: int, task: Any) -> Any:
    try:
        work = _held(parcel, threads)
    except Exception as problem:  # somebody else's classes may raise anything when they are unpickled
        return BadInput(f"this model cannot be read in another process ({one_line(problem)}): use --engine serial")
    try:
        return work(task)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C does not reach this process: the model raised it
        os._exit(1)
    except Exception as problem:  # raised where it was asked for
        return problem


@cache
def _held(parcel: str, threads: int) -> Work[Any, Any]:
    from certify.process import tune_process

    tune_process()
    torch.set_num_threads(threads)
    with current_directory_importable():  # where the function was found that made the model
        return unpacked(Path(parcel))


def _end_with_parent() -> None:
    """A worker whose run was killed must not go on: nobody would write down what it makes."""

    def wait_for_parent() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    end_with_parent()  # also while the model keeps all threads from running
