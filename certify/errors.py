"""Every error that a user can cause: one line that says what was wrong and what to do next.

The command line prints the message alone and ends with the error's ``exit_code``; Python callers catch
:class:`CertifyError` or one of its named children.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "BadInput",
    "CertifyError",
    "DataError",
    "DeviceLost",
    "IncompleteRun",
    "MissingExtra",
    "ModelError",
    "NotVerified",
    "StoreError",
    "UnsupportedOperator",
    "needs",
    "one_line",
]


class CertifyError(Exception):
    """Base of all errors raised on purpose by this package.

    >>> raise CertifyError("no runs given; name at least one run folder")
    Traceback (most recent call last):
    ...
    certify.errors.CertifyError: no runs given; name at least one run folder
    """

    exit_code = 2


class BadInput(CertifyError):
    """A setting or argument that cannot be right: a negative radius, alpha outside (0, 1), an unknown name."""


class DataError(CertifyError):
    """Data that cannot be certified as given: NaN, outside the input box, a label out of range, a corrupt file."""


class ModelError(CertifyError):
    """A model that cannot be certified as given: train mode, an output of the wrong shape, a refused pickle."""


class UnsupportedOperator(ModelError):
    """A network contains an operator that no bound rule covers; the message names the node and the way out."""


class StoreError(CertifyError):
    """A run folder that cannot be read or written, or that was made with other settings."""


class NotVerified(CertifyError):
    """A signature or a digest that does not hold: a check failed, which is an answer and no bad input."""

    exit_code = 1


class DeviceLost(CertifyError):
    """An accelerator failed in the middle: nothing more can be computed on it before the process starts again."""


class MissingExtra(CertifyError):
    """An optional library is needed and not installed; the message says which extra brings it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed: pip install 'certify[{extra}]'")


class IncompleteRun(CertifyError):
    """The run ended before every input was decided; the same command resumes it."""

    exit_code = 3


@contextmanager
def needs(library: str | None, extra: str, purpose: str) -> Iterator[None]:
    """Around imports of an optional library: say which extra brings it where it is not installed.

    Args:
        library: as pip names it; None for the module that is missing, of several.
        extra: of this package.
        purpose: what needs it.

    Raises:
        MissingExtra: where an import inside fails.

    >>> with needs("figs", "plot", "drawing"):
    ...     import figs
    Traceback (most recent call last):
    ...
    certify.errors.MissingExtra: drawing needs figs, which is not installed: pip install 'certify[plot]'
    """
    try:
        yield
    except ImportError as absent:
        raise MissingExtra(library or absent.name or extra, extra, purpose) from absent


def one_line(problem: BaseException) -> str:
    """The type and first line of an exception, for messages that quote it.

    >>> one_line(ValueError("too small\\nfor this"))
    'ValueError: too small'
    """
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0].strip()}" if lines else type(problem).__name__
