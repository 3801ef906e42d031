"""What every engine does, and the registry of engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import torch

from certify.core.values import number, whole
from certify.device import CPU
from certify.errors import BadInput
from certify.registry import Registry, make

__all__ = [
    "ENGINES",
    "Crew",
    "Engine",
    "Lost",
    "R",
    "T",
    "Work",
    "check_limit",
    "check_workers",
    "engine_from",
    "in_flight",
    "inputs_of",
    "tried_twice",
]

T = TypeVar("T")
R = TypeVar("R")

Work = Callable[[T], R]
"""What is done for each task: a function that can be sent to another process, with all that it holds."""

AHEAD: Final = 2
"""Tasks that are handed out for each worker: one that it works on, and the next, so that it never waits."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A task that ended together with its process, so that nothing came back.

    Args:
        reason: why, in words.
    """

    reason: str


class Engine(ABC):
    """Carries out the tasks of a run, in any order, and hands back what each of them made.

    A member is a frozen dataclass in a file of its own, registered in :data:`ENGINES`. Records never depend on the
    engine: a task says by itself all that its result depends on, and whoever asked keeps the results.
    """

    __slots__ = ()

    @abstractmethod
    def crew(self, work: Work[T, R], device: torch.device = CPU) -> AbstractContextManager[Crew[T]]:
        """Those who will do some work; they begin with the first task, and end with the context.

        Args:
            work: what is done for each task.
            device: where the work computes. Workers share out the devices of a kind where no number names one.

        Raises:
            BadInput: if the work cannot be sent to where it would be done.
        """


class Crew(Protocol[T]):
    """Workers that hold the work, in this process or elsewhere."""

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        """Yield each task with what the work made of it, or :class:`Lost`, as soon as it has ended.

        What the work raises is raised here.

        Args:
            tasks: plain values; taken one after the other, as workers become free.
            alone: one task at a time, so that each has the memory of the machine to itself.
        """


ENGINES: Registry[Callable[..., Engine]] = Registry("engine", package="certify.engines")


def engine_from(name: str | None = None, **settings: Any) -> Engine:
    """An engine by its name and settings; one that has the settings where nobody names it; else the serial one.

    Raises:
        BadInput: for an unknown engine, or a setting that it does not have.

    >>> engine_from(), engine_from(workers=2)
    (Serial(), Local(workers=2, input_timeout=None))
    """
    given = {setting: value for setting, value in settings.items() if value is not None}
    if name is None:
        name = "ray" if "ray_address" in given else "local" if given else "serial"
    return make(ENGINES, name, given)


def in_flight(
    tasks: Iterable[T], most: int, start: Callable[[T], Any], finished: Callable[[Sequence[Any]], Iterable[Any]]
) -> Iterator[tuple[T, Any]]:
    """Keep a number of tasks going, and yield each with its handle when it has finished.

    Args:
        tasks: what is to be done.
        most: how many are handed out at once.
        start: begins a task, and returns a handle of it.
        finished: waits for at least one of some handles, and returns those that are done.

    >>> list(in_flight("ab", 1, str.upper, lambda handles: handles[:1]))
    [('a', 'A'), ('b', 'B')]
    """
    source, going = iter(tasks), dict[Any, T]()
    while True:
        while len(going) < most and (task := next(source, _DONE)) is not _DONE:
            going[start(task)] = task
        if not going:
            return
        for handle in finished(list(going)):
            yield going.pop(handle), handle


_DONE: Final[Any] = object()


def tried_twice(crew: Crew[T], tasks: Iterable[T]) -> Iterator[tuple[T, Any]]:
    """Yield each task with what came of it; one that was lost with its process is tried once more, alone."""
    lost: list[T] = []
    for task, made in crew.results(tasks):
        if isinstance(made, Lost):
            lost.append(task)
        else:
            yield task, made
    yield from crew.results(lost, alone=True)


def inputs_of(task: Any) -> int:
    """How many inputs a task is about: its length, where it has one."""
    return max(1, len(task)) if hasattr(task, "__len__") else 1


def check_workers(workers: int | None) -> int | None:
    """Return a number of workers, or None for as many as there is room for.

    Raises:
        BadInput: for anything but a whole number above 0.
    """
    if workers is not None and whole("workers", workers) < 1:
        raise BadInput(f"workers must be at least 1, got {workers}")
    return workers


def check_limit(input_timeout: float | None) -> float | None:
    """Return the seconds after which an input is given up, or None for no limit.

    Raises:
        BadInput: for anything but a number above 0.
    """
    if input_timeout is not None and not number("input_timeout", input_timeout) > 0:
        raise BadInput(f"input_timeout must be above 0 seconds, got {input_timeout}")
    return input_timeout
