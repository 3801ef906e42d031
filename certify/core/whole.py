"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_whole", "writing"]


@contextmanager
def writing(path: Path, *, new: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write bytes to; what was there before stays until all of them are written, or for good if ``new``.

    Others may do with it what ``mode`` and the process's mask let them.

    Raises:
        FileExistsError: if it has to be new and is not; of several processes that make one, one succeeds.
        OSError: if writing fails; nothing half-written is left.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that was killed, or a link: following it would write elsewhere
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
        if new and _linked(temporary, path):
            temporary.unlink()
        else:
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _linked(temporary: Path, path: Path) -> bool:
    """Give a file another name that is new; where a file system knows one name a file, only take hold of it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        path.touch(exist_ok=False)
        return False
    return True


def write_whole(path: Path, text: str, *, new: bool = False) -> None:
    """Write a file of text in UTF-8; see :func:`writing`.

    Raises:
        OSError: as there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "answer.json")
    >>> write_whole(path, "{}")
    >>> [file.name for file in path.parent.iterdir()], path.read_text()
    (['answer.json'], '{}')
    """
    with writing(path, new=new) as file:
        file.write(text.encode("utf-8"))
