"""Files read in bounded memory: regular files only, and compressed ones only as far as there is room for their content.

Whatever is wrong with a file raises an OSError whose ``strerror`` is a phrase like "No such file or directory", so that
callers can put it behind the name of the file.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from certify.bounded.memory import room
from certify.errors import one_line

__all__ = ["GZIP", "check_text", "content_of", "opened", "taken", "text_room"]

GZIP: Final = b"\x1f\x8b"
"""The first bytes of every gzipped file, whatever its name is."""

_TEXT: Final = 2**26
"""Bytes of text that may be parsed on any machine, however little memory is free."""

_PARSED: Final = 30
"""Bytes of memory that each byte of a text may take when it is parsed into lists of short pieces."""

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without O_NONBLOCK, opening a pipe would wait for somebody who writes to it."""

_PART: Final = 2**20
"""Bytes that are read at a time."""
_KINDS: Final = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


def text_room() -> int:
    """Bytes of text that may be parsed: a thirtieth of a quarter of the free memory, but at least 64 MiB."""
    return max(_TEXT, room() // _PARSED)


def check_text(text: str) -> None:
    """Refuse a text that is too long to be parsed; see :func:`text_room`.

    Raises:
        ValueError: for such a text.
    """
    if len(text) > _TEXT and len(text) > (most := text_room()):
        raise ValueError(f"{len(text):,} characters take more memory to parse than there is to spare: {most:,} may do")


@contextmanager
def opened(path: Path | str) -> Iterator[io.BufferedReader]:
    """A regular file to read bytes from. Pipes, which may block, and devices, which may be endless, are refused.

    Raises:
        OSError: if there is none, or it is something else.

    >>> with opened("/dev/null") as file:
    ...     file.read()
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] it is a device and no file: '/dev/null'
    """
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
            raise OSError(errno.EINVAL, f"it is {kind} and no file", str(path))
        file = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file


def content_of(path: Path | str, most: int | None = None, *, unpack: bool = False) -> bytes:
    """What a regular file holds.

    Args:
        path: the file.
        most: bytes that it may hold; by default a quarter of the memory that is free.
        unpack: whether content that begins like gzip is decompressed; ``most`` then limits the decompressed content.

    Raises:
        OSError: if there is no such file, it holds more, or its gzip is damaged.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bomb.gz")
    >>> size = path.write_bytes(gzip.compress(bytes(1000)))
    >>> len(content_of(path, 1000, unpack=True))
    1000
    >>> content_of(path, 999, unpack=True)
    Traceback (most recent call last):
    ...
    OSError: [Errno 27] it holds more than 999 bytes, ...
    """
    with opened(path) as file:
        packed = unpack and file.peek(len(GZIP))[: len(GZIP)] == GZIP
        if not packed:
            return taken(file, str(path), most)
        try:
            return taken(gzip.GzipFile(fileobj=file), str(path), most)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise OSError(errno.EIO, f"its gzip is damaged: {one_line(problem)}", str(path)) from problem


def taken(stream: IO[bytes] | io.BufferedIOBase, name: str, most: int | None = None) -> bytes:
    """The rest of a stream, read in parts, so that at most one part beyond the limit is ever read.

    Args:
        stream: what to read.
        name: of its file.
        most: bytes that it may hold; by default a quarter of the memory that is free.

    Raises:
        OSError: if it holds more.
    """
    limit = room() if most is None else most
    content = io.BytesIO()
    while part := stream.read(_PART):
        if content.tell() + len(part) > limit:
            follows = "a quarter of the memory that is free" if most is None else "the most that there is room for"
            raise OSError(errno.EFBIG, f"it holds more than {limit:,} bytes, {follows}", name)
        content.write(part)
    return content.getvalue()
