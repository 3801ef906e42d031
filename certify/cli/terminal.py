"""What somebody at a terminal sees while a command computes; nothing at all when standard error is piped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CLEAR", "ticking"]

CLEAR = "\r\x1b[K"
"""What makes a terminal forget its last line."""


@contextmanager
def ticking(begin: float, timeout: float) -> Iterator[None]:
    """Show on a terminal, once a second, how many of ``timeout`` seconds have passed since ``begin``.

    Without the libraries that draw bars: they take longer to import than most questions to answer.
    """
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def tick() -> None:
        while not over.wait(1 - (time.monotonic() - begin) % 1):  # as each second is full
            sys.stderr.write(f"{CLEAR}{time.monotonic() - begin:.0f} of {timeout:g} s")
            sys.stderr.flush()

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        over.set()
        ticking.join()
        sys.stderr.write(CLEAR)
        sys.stderr.flush()
