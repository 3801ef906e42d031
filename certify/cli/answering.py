"""The protocol of verification tools: the first line on standard output is the answer, and it comes in time.

Meanwhile somebody at a terminal sees the seconds pass; where standard error is piped, nothing is shown.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

from certify.errors import BadInput, IncompleteRun
from certify.process import out_of_memory

__all__ = ["CLEAR", "Answering", "answering", "ticking"]

CLEAR = "\r\x1b[K"
"""What makes a terminal forget its last line."""

Say = Callable[[str], None]
"""Prints the answer, its first line the verdict. Only the first call does."""


class Answering(TyperCommand):
    """A command that answers ``error`` to arguments that it cannot parse, before the message about them."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """See click; ``--help`` ends with another exception, and is no error."""
        try:
            return super().make_context(*args, **kwargs)
        except typer.TyperException:
            typer.echo("error")
            raise


@contextmanager
def answering(seconds: float, late: str = "") -> Iterator[Say]:
    """Answer exactly once: what the block says, ``error`` if it fails, or ``timeout`` after so many seconds.

    On ``timeout`` the process leaves at once, whatever it is computing. An interrupt answers nothing.

    Args:
        seconds: from now on; if none are left, the answer is ``timeout``.
        late: what standard error gets as well on ``timeout``.

    Raises:
        IncompleteRun: when interrupted.
        BadInput: when memory ran out.
    """
    sys.stdout.flush()
    taken, said = threading.Lock(), False  # the lock is never released: there is exactly one answer

    def say(answer: str) -> None:
        nonlocal said
        if said:
            return
        if not taken.acquire(blocking=False):
            alarm.join()  # which does not return: the process is about to end
        said = True
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()

    def expire() -> None:
        if taken.acquire(blocking=False):
            try:
                os.write(1, b"timeout\n")  # not through the buffers, which another thread may be writing to
                os.write(2, late.encode())
            finally:
                os._exit(0)

    alarm = threading.Timer(min(max(seconds, 0.0), threading.TIMEOUT_MAX), expire)
    alarm.daemon = True
    alarm.start()
    try:
        yield say
    except KeyboardInterrupt:
        taken.acquire(blocking=False)
        raise IncompleteRun("interrupted before there was an answer") from None
    except Exception as problem:
        say("error")
        if out_of_memory(problem):
            raise BadInput("memory ran out before there was an answer; use a machine with more") from problem
        raise
    finally:
        alarm.cancel()


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
        while not over.wait(1 - (time.monotonic() - begin) % 1):  # wake at each full second
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
