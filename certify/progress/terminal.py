"""Progress on a terminal: one line that is redrawn in place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from certify.progress.observer import Advance
from certify.progress.stage import Stage

__all__ = ["Terminal"]


class _Line(ProgressColumn):
    """The stage in one line, as wide as the console."""

    def __init__(self, stage: Stage, console: Console) -> None:
        super().__init__()
        self._stage, self._console = stage, console

    def render(self, task: Task) -> Text:
        """How far it is now."""
        return Text(self._stage.line(time.monotonic(), self._console.width), no_wrap=True, overflow="crop")


class Terminal:
    """Draws on a console, standard error by default.

    Args:
        console: where to.
        verbose: each result as well, above the line.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self._console, self._verbose = console or Console(stderr=True), verbose

    def announce(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self._console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self._console.print(f"warning: {text}", highlight=False, markup=False, style="yellow", soft_wrap=True)

    def detail(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        if self._verbose:
            self._console.print(text, highlight=False, markup=False)

    @contextmanager
    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> Iterator[Advance]:
        """See :class:`~certify.progress.observer.Observer`."""
        stage = Stage(what, total, done, unit, time.monotonic())
        with Progress(_Line(stage, self._console), console=self._console) as progress:
            progress.add_task(what, total=total)
            yield stage.advance
