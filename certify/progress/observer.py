"""Observers of long work: what they are told, and which of them fits where the program runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from traceback import walk_stack
from typing import Protocol

from certify.errors import BadInput

__all__ = ["Advance", "Observer", "Quiet", "Silent", "observer", "watching"]

Advance = Callable[[int, str], None]
"""Called with the number of units just finished and a note to show, its parts two spaces apart."""


class Observer(Protocol):
    """Is told what is being done and how far it is, and shows that in its own way."""

    def announce(self, text: str) -> None:
        """Say what begins now, after everything that could refuse it was checked."""

    def warn(self, text: str) -> None:
        """Say in one line that a result will probably not be what the user meant."""

    def detail(self, text: str) -> None:
        """Say one result, for those who want to read each."""

    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> AbstractContextManager[Advance]:
        """Begin a stage of ``total`` inputs, or other units, of which ``done`` were finished earlier."""


class Quiet:
    """Says nothing; warnings are Python's own."""

    def announce(self, text: str) -> None:
        """See :class:`Observer`."""

    def warn(self, text: str) -> None:
        """See :class:`Observer`. The warning points at the line that called this package."""
        names = [str(frame.f_globals.get("__name__")) for frame, _ in walk_stack(sys._getframe())]
        level = max(place for place, name in enumerate(names, 1) if name.partition(".")[0] == "certify")
        level += names[level : level + 1] == ["contextlib"]  # what is decorated by a context is called from there
        warnings.warn(text, stacklevel=level + 1)

    def detail(self, text: str) -> None:
        """See :class:`Observer`."""

    @contextmanager
    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> Iterator[Advance]:
        """See :class:`Observer`."""
        yield lambda count, note: None


class Silent(Quiet):
    """Says nothing but warnings, each a line on standard error."""

    def warn(self, text: str) -> None:
        """See :class:`Observer`."""
        sys.stderr.write(f"warning: {text}\n")


def observer(quiet: bool = False, verbose: bool = False) -> Observer:
    """A progress bar where standard error is a terminal, a line that is replaced in a notebook, otherwise lines.

    Args:
        quiet: warnings alone.
        verbose: each result as well, one a line.

    Raises:
        BadInput: for both.
    """
    if quiet and verbose:
        raise BadInput("quiet and verbose ask for less and for more; choose one of them")
    if quiet:
        return Silent()
    if sys.stderr.isatty():
        from certify.progress.terminal import Terminal

        return Terminal(verbose=verbose)
    if _in_notebook():
        from certify.progress.notebook import Notebook

        return Notebook()
    from certify.progress.lines import Lines

    return Lines(verbose=verbose)


def watching(progress: bool | Observer | None) -> Observer:
    """The observer that an argument ``progress`` stands for: True for one that fits, False or None for silence.

    >>> type(watching(False)).__name__
    'Quiet'
    """
    if progress is None or isinstance(progress, bool):
        return observer() if progress else Quiet()
    if not hasattr(progress, "stage"):
        raise BadInput(f"progress must be True or False, got {progress!r}")
    return progress


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
