"""Progress in a notebook: one line of a cell's output that is replaced, without widgets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from certify.progress.observer import Advance, Quiet
from certify.progress.stage import Stage

__all__ = ["Notebook"]

_REFRESH_SECONDS: Final = 0.25
"""At least this long between two changes of the line: each is a message to the browser."""


class Notebook(Quiet):
    """Shows the line of each stage in the output of the cell, and nothing else; warnings are Python's own."""

    @contextmanager
    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> Iterator[Advance]:
        """See :class:`~certify.progress.observer.Observer`."""
        from IPython.display import display

        stage = Stage(what, total, done, unit, time.monotonic())
        shown = time.monotonic()
        handle = display(_plain(stage), raw=True, display_id=True)

        def advance(count: int, note: str) -> None:
            nonlocal shown
            stage.advance(count, note)
            if (now := time.monotonic()) - shown >= _REFRESH_SECONDS:
                shown = now
                handle.update(_plain(stage), raw=True)

        try:
            yield advance
        finally:
            handle.update(_plain(stage), raw=True)


def _plain(stage: Stage) -> dict[str, Any]:
    return {"text/plain": stage.line(time.monotonic())}
