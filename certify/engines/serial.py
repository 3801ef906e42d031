"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from certify.device import CPU
from certify.engines.base import ENGINES, Crew, Engine, R, T, Work

__all__ = ["Serial"]


@ENGINES.register("serial")
@dataclass(frozen=True, slots=True)
class Serial(Engine):
    """One task after the other, in this process: nothing is sent anywhere, and nothing survives a crash of the model.

    >>> with Serial().crew(str.upper) as crew:
    ...     list(crew.results(["a", "b"]))
    [('a', 'A'), ('b', 'B')]
    """

    @contextmanager
    def crew(self, work: Work[T, R], device: torch.device = CPU) -> Iterator[Crew[T]]:
        """This process itself; no task is ever lost."""
        yield _Myself(work)


@dataclass(frozen=True, slots=True)
class _Myself:
    work: Work

    def results(self, tasks: Iterable[T], *, alone: bool = False) -> Iterator[tuple[T, Any]]:
        for task in tasks:
            yield task, self.work(task)
