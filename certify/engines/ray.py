"""Actors on a Ray cluster, or on this machine, each with the model in it."""

from __future__ import annotations

import io
import math
import re
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from certify.device import CPU, shared
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
from certify.engines.parcel import parcel, unpacked
from certify.errors import BadInput, needs

__all__ = ["Ray"]

ANSWERS_WITHIN: Final = 10.0
"""Seconds in which a cluster has to answer at its address."""

ALONE: Final = {"worker_niceness": 0, "prestart_worker_first_driver": False}
"""What Ray is told where it is started here. By default its workers yield to every other process, and on a busy machine
never get to work; and it waits, deaf to signals, for workers that nobody asked for and that may die."""

LOOKED_AT: Final = 1.0
"""Seconds between two looks at the time limits of tasks."""


@ENGINES.register("ray")
@dataclass(frozen=True, slots=True)
class Ray(Engine):
    """Actors that hold the model; this process writes the records. Tasks go to whoever is free.

    Args:
        workers: how many actors; None for one a core of the cluster.
        ray_address: ``HOST:PORT`` of a cluster, or ``"auto"`` for the one that runs on this machine; None starts Ray
            here, and ends it afterwards.
        input_timeout: seconds per input of a task after which the task is given up; None for no limit.

    Raises:
        BadInput: for numbers that mean nothing.
    """

    workers: int | None = None
    ray_address: str | None = None
    input_timeout: float | None = None

    def __post_init__(self) -> None:
        check_workers(self.workers)
        check_limit(self.input_timeout)

    @contextmanager
    def crew(self, work: Work[T, R], device: torch.device = CPU) -> Iterator[Crew[T]]:
        """See :meth:`Engine.crew`. An actor that dies, or whose machine does, loses its task and is made anew.

        Raises:
            BadInput: if no cluster answers at the address, it lacks the GPUs asked for, or the work cannot be sent.
            MissingExtra: without Ray.
        """
        with needs("ray", "ray", "--engine ray"):
            import ray
        content = io.BytesIO()
        parcel(work, content)
        with _own_end():
            connected = self._connect(ray)
        if shared(device) and not ray.cluster_resources().get("GPU"):
            if connected:
                ray.shutdown()
            raise BadInput(f"this Ray cluster has no GPU, and the model is for {device}: use --device cpu")
        actors = _Actors(ray, content.getvalue(), self.workers, self.input_timeout, shared(device))
        try:
            yield actors
        finally:
            actors.dismiss()
            if connected:
                ray.shutdown()

    def _connect(self, ray: Any) -> bool:
        """Whether Ray was started or connected to here, and is to be left afterwards."""
        if ray.is_initialized():
            return False
        quiet = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
        if self.ray_address is None:
            try:
                ray.init(num_cpus=self.workers, _system_config=ALONE, **quiet)
            except Exception as problem:  # Ray raises whatever its layers do
                why = str(problem).partition("\n")[0]
                raise BadInput(
                    f"Ray does not start on this machine ({type(problem).__name__}: {why}): use --engine local, or "
                    "start it with `ray start --head` and give --ray-address"
                ) from problem
            return True
        if self.ray_address != "auto":
            _reach(self.ray_address)
        del quiet["include_dashboard"]
        try:
            ray.init(address=self.ray_address, **quiet)
        except Exception as problem:  # Ray raises whatever its layers do
            raise BadInput(
                f"no Ray cluster answers at {self.ray_address} ({type(problem).__name__}): start one with "
                "`ray start --head`, or leave --ray-address out"
            ) from problem
        return True


@contextmanager
def _own_end() -> Iterator[None]:
    """Where the caller has an answer to SIGTERM, it stays: Ray's own, set as it starts, ends the process."""
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:
        if not callable(own):
            raise
        raise KeyboardInterrupt from ended
    finally:
        if callable(own) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, own)


def _reach(address: str) -> None:
    """Refuse an address at which nobody listens, before Ray waits for minutes."""
    written = re.fullmatch(r"(?:ray://)?(.+):(\d{1,5})", address)
    if written is None or not 0 < int(written[2]) < 2**16:
        raise BadInput(f"--ray-address is HOST:PORT, for example 10.0.0.1:6379, or auto, got {address!r}")
    try:
        socket.create_connection((written[1], int(written[2])), ANSWERS_WITHIN).close()
    except (OSError, UnicodeError) as problem:
        raise BadInput(
            f"nobody answers at {address} within {ANSWERS_WITHIN:g} seconds ({problem}): check --ray-address"
        ) from problem


@dataclass(slots=True)
class _Actors:
    """The actors of a run, each with the tasks that it was given.

    Args:
        ray: the library.
        parcel: the work, pickled.
        workers: how many actors; None for one a core of the cluster.
        limit: seconds an input may take, or None.
        shared: whether the actors share out the accelerators of the cluster.
    """

    ray: Any
    parcel: bytes
    workers: int | None
    limit: float | None
    shared: bool
    reference: Any = field(default=None, init=False)
    """Of the work in Ray's store, once it is there."""
    actors: list[Any] = field(default_factory=list, init=False)
    given: dict[Any, tuple[Any, int]] = field(default_factory=dict, init=False)
    """The actor of each handle, and how many inputs its task has."""
    since: dict[Any, float] = field(default_factory=dict, init=False)
    """When each actor last finished something, or was given a task while it had none."""
    late: set[Any] = field(default_factory=set, init=False)

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        if self.reference is None:
            self.reference = self.ray.put(self.parcel)
            self.actors = [self._made() for _ in range(self._count())]
        if alone:
            self._look_after()
        most = 1 if alone else AHEAD * len(self.actors)
        for task, handle in in_flight(tasks, most, self.start, self.finished):
            yield task, self.outcome(handle)

    def _look_after(self) -> None:
        """Replace actors that went with their machine, which may take the cluster a while to notice."""
        for place, actor in enumerate(self.actors):
            try:
                self.ray.get(actor.ready.remote())
            except self.ray.exceptions.RayActorError:
                self.actors[place] = self._made()

    def _count(self) -> int:
        return self.workers or max(1, int(self._there()))

    def _there(self) -> float:
        """Cores of the cluster, or accelerators where those do the work."""
        kind = "GPU" if self.shared else "CPU"
        return float(self.ray.cluster_resources().get(kind, 1))

    def _made(self) -> Any:
        # Without a number of cores, an actor needs one free only to be placed: none waits for room for ever.
        # Equal parts of a GPU, so many that each actor finds one: three actors on two GPUs take a half each.
        part = {"num_gpus": 1 / math.ceil(self._count() / self._there())} if self.shared else {}
        made = self.ray.remote(scheduling_strategy="SPREAD", **part)(_Worker).remote(self.reference)
        self.since[made] = time.monotonic()
        return made

    def dismiss(self) -> None:
        """End all actors: in somebody's cluster they would go on."""
        for actor in self.actors:
            self.ray.kill(actor)

    def start(self, task: Any) -> Any:
        """Give a task to the actor with the fewest."""
        busy = [sum(who is actor for who, _ in self.given.values()) for actor in self.actors]
        actor = self.actors[busy.index(min(busy))]
        if not min(busy):
            self.since[actor] = time.monotonic()
        handle = actor.carry_out.remote(task)
        self.given[handle] = actor, inputs_of(task)
        return handle

    def finished(self, handles: Sequence[Any]) -> Iterable[Any]:
        """Wait for a task to end, and end actors whose task takes too long."""
        while True:
            done, _ = self.ray.wait(list(handles), timeout=None if self.limit is None else LOOKED_AT)
            if done:
                return done
            for actor in self.actors:
                mine = next((handle for handle, (who, _) in self.given.items() if who is actor), None)
                if (
                    mine is not None
                    and time.monotonic() - self.since[actor] > (self.limit or math.inf) * self.given[mine][1]
                ):
                    self.late.add(mine)
                    self.ray.kill(actor)

    def outcome(self, handle: Any) -> Any:
        """What a task made, or why it was lost; another actor takes the place of one that died."""
        actor, _ = self.given.pop(handle)
        self.since[actor] = time.monotonic()
        try:
            return self.ray.get(handle)
        except self.ray.exceptions.RayTaskError as problem:
            raise problem.cause from problem
        except (self.ray.exceptions.RayActorError, self.ray.exceptions.OutOfMemoryError) as died:
            if actor in self.actors:
                self.actors[self.actors.index(actor)] = self._made()
            if handle in self.late:
                return Lost(f"it did not end within {self.limit:g} seconds an input")
            return Lost(f"the actor that worked on it died ({type(died).__name__})")


class _Worker:
    """An actor: holds the work, and is asked about one task after the other."""

    def __init__(self, content: bytes) -> None:
        from certify.process import tune_process

        tune_process()
        self.work = unpacked(content)

    def carry_out(self, task: Any) -> Any:
        return self.work(task)

    def ready(self) -> None:
        """Answer, as soon as the work is unpacked."""
