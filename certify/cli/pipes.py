"""Output whose reader may have seen enough, as in ``certify summary run | head``."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

__all__ = ["outlast_readers"]


class _Outlet(io.FileIO):
    """A file that goes on accepting output after its reader has left."""

    def write(self, data: object, /) -> int:
        """See ``io.RawIOBase``."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)  # type: ignore[arg-type]


def outlast_readers() -> None:
    """From now on a reader who leaves neither ends this process nor changes its exit code.

    A gate that fails must not pass because only the first line of its answer was read, and a run goes on.
    """
    sys.stdout, sys.stderr = _outlasting(sys.stdout), _outlasting(sys.stderr)


def _outlasting(stream: TextIO) -> TextIO:
    stream.flush()
    binary = io.BufferedWriter(_Outlet(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        binary,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty() or stream is sys.stderr,
        write_through=stream is sys.stderr,
    )
