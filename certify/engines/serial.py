"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from certify.engines.base import ENGINES, Engine, Lost, T, Work

__all__ = ["Serial"]

R = TypeVar("R")


@ENGINES.register("serial")
@dataclass(frozen=True, slots=True)
class Serial(Engine):
    """One task after the other, in this process: nothing is sent anywhere, and nothing survives a crash of the model.

    >>> list(Serial().results(str.upper, ["a", "b"]))
    [('a', 'A'), ('b', 'B')]
    """

    def results(self, work: Work[T, R], tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, R | Lost]]:
        """See :meth:`Engine.results`; no task is ever lost."""
        for task in tasks:
            yield task, work(task)
