"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


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
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
