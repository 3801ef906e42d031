"""One crew for several works that are done one after the other: its workers start once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from certify.device import CPU
from certify.engines.base import Crew, Engine, R, T, Work, inputs_of
from certify.errors import BadInput

__all__ = ["one_crew"]


@contextmanager
def one_crew(engine: Engine, works: Sequence[Work[T, R]], device: torch.device = CPU) -> Iterator[list[Engine]]:
    """For each work an engine that does that work and no other; all have the same workers.

    Args:
        engine: whose workers they are.
        works: all that will be done, because workers are told once.
        device: where the works compute.

    Raises:
        BadInput: as :meth:`Engine.crew`.

    >>> from certify.engines.serial import Serial
    >>> with one_crew(Serial(), [str.upper, str.lower]) as (upper, lower), lower.crew(str.lower) as crew:
    ...     list(crew.results(["A", "B"]))
    [('A', 'a'), ('B', 'b')]
    """
    with engine.crew(_Works(tuple(works)), device) as crew:
        yield [_Share(engine, crew, number, work) for number, work in enumerate(works)]


@dataclass(frozen=True, slots=True)
class _Part:
    """A task of one of the works."""

    number: int
    task: Any

    def __len__(self) -> int:
        return inputs_of(self.task)


@dataclass(frozen=True, slots=True)
class _Works:
    """What a worker holds."""

    works: tuple[Work[Any, Any], ...]

    def __call__(self, part: _Part) -> Any:
        return self.works[part.number](part.task)


@dataclass(frozen=True, slots=True, repr=False)
class _Share(Engine):
    """The part of a crew that does one of the works, as an engine."""

    engine: Engine
    hands: Crew[_Part]
    number: int
    work: Work[Any, Any]

    def __repr__(self) -> str:
        return repr(self.engine)

    @contextmanager
    def crew(self, work: Work[T, R], device: torch.device = CPU) -> Iterator[Crew[T]]:
        if work != self.work:
            raise BadInput(f"these workers were told to do {self.work!r}, not {work!r}: name it in one_crew")
        yield self

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        for part, made in self.hands.results((_Part(self.number, task) for task in tasks), alone=alone):
            yield part.task, made
