"""Folders in which one process works at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from certify.errors import BadInput, one_line

__all__ = ["alone_in"]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While inside, no other process gets in with the same folder, which is made if it is missing.

    One that was made and is empty in the end is removed. The lock ends with the process, however it ends, and leaves no
    file. Systems and file systems that have no such locks let everybody in.

    Raises:
        BadInput: if another process is inside, or the folder cannot be made.

    >>> import tempfile
    >>> with alone_in(Path(tempfile.mkdtemp(), "net")) as nothing:
    ...     pass
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    except OSError as problem:
        raise BadInput(f"cannot write to {folder}: {one_line(problem)}") from problem
    try:
        if lock is not None and not _taken(lock):
            raise BadInput(f"another process is at work in {folder}: wait until it has ended, or choose another folder")
        yield
    finally:
        if made:
            with suppress(OSError):  # something was written
                folder.rmdir()
        if lock is not None:
            os.close(lock)


def _taken(lock: int) -> bool:
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        pass
    return True
