"""Arrays in numpy's files: the size in a header is compared with the size of the file before memory is allocated."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from certify.bounded.files import opened
from certify.bounded.memory import room
from certify.errors import one_line

__all__ = ["array_of", "arrays_of"]

SHARE = 0.5
"""Share of the free memory that arrays may take: the rest is for computing with them."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def array_of(path: Path | str) -> NDArray[Any]:
    """The array in a file that ``numpy.save`` wrote.

    Raises:
        OSError: if there is no such file.
        ValueError: if it holds something else, pickled objects, or more than half of what memory is free.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size)
        return _array(file, size)


def arrays_of(path: Path | str, names: Iterable[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The named arrays as far as a file of ``numpy.savez`` has them, and the names of all its arrays.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is another kind of file, or damaged; if an array is of pickled objects; or if together they
            take more than half of what memory is free.

    >>> import tempfile
    >>> import numpy as np
    >>> path = Path(tempfile.mkdtemp(), "data.npz")
    >>> np.savez(path, x=np.zeros(2), y=np.ones(2))
    >>> arrays_of(path, ["x", "z"])
    ({'x': array([0., 0.])}, ['x', 'y'])
    """
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = {name: entries[name] for name in names if name in entries}
            _check_size(sum(info.file_size for info in wanted.values()))
            found = {}
            for name, info in wanted.items():
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"array {name!r} is packed by method {info.compress_type}, which numpy never uses")
                with archive.open(info) as member:
                    found[name] = _array(member, info.file_size)
            return found, sorted(entries)
    except (EOFError, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError) as problem:
        raise ValueError(one_line(problem)) from problem


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a file of ``size`` bytes."""
    try:
        read_header = _HEADERS[npy.read_magic(file)]
        shape, _, dtype = read_header(file)
    except Exception as problem:  # the header is Python text, and parsing that raises anything
        raise ValueError(f"it is no array, or of a form that is not read ({one_line(problem)})") from problem
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which could run code; save plain arrays")
    held = size - file.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"its header promises an array {shape} of {dtype}, but it holds {held:,} bytes")
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _check_size(size: int) -> None:
    if size > (most := room(SHARE)):
        raise ValueError(f"its arrays take {size:,} bytes, and {most:,} are half of the memory that is free")
