"""Progress as lines of text, where nobody watches but somebody may look: a file, a pipe, the log of a job."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Final, TextIO

from certify.progress.observer import Advance
from certify.progress.stage import Stage

__all__ = ["Lines"]

PAUSES: Final = (10.0, 20.0, 30.0, 60.0)
"""Seconds between lines; the last one from then on."""


class Lines:
    """A line when a stage begins, every so often while it lasts, and when it ends.

    Args:
        out: where lines go; standard error if not given.
        verbose: each result as well.
        pauses: seconds between lines of one stage.
        now: the clock.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        verbose: bool = False,
        pauses: Iterable[float] = PAUSES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._verbose, self._pauses, self._now = out, verbose, tuple(pauses), now

    def announce(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        out = self._out or sys.stderr
        out.write(f"{text}\n")  # one call, because two threads write
        out.flush()

    def warn(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self.announce(f"warning: {text}")

    def detail(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        if self._verbose:
            self.announce(text)

    @contextmanager
    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> Iterator[Advance]:
        """See :class:`~certify.progress.observer.Observer`."""
        stage, over = Stage(what, total, done, unit, self._now()), threading.Event()
        if not total:
            yield stage.advance
            return
        self.announce(f"{what}  {done}/{total} {unit}")

        def tell() -> None:
            # By time and not by results: one group of inputs can take longer than people wait in silence.
            for pause in chain(self._pauses, repeat(self._pauses[-1])):
                if over.wait(pause):
                    return
                self.announce(stage.line(self._now()))

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        try:
            yield stage.advance
        finally:
            over.set()
            telling.join()
            self.announce(stage.line(self._now()))
