"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_whole", "writing"]


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to; what was there before stays until all of them are written.

    Raises:
        OSError: if that fails; nothing half-written is left.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that was killed, or a link: following it would write elsewhere
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a file of text in UTF-8; what was there before stays until all of it is written.

    Raises:
        OSError: if that fails; nothing half-written is left.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "answer.json")
    >>> write_whole(path, "{}")
    >>> [file.name for file in path.parent.iterdir()], path.read_text()
    (['answer.json'], '{}')
    """
    with writing(path) as file:
        file.write(text.encode("utf-8"))
