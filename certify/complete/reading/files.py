"""Property files: plain or gzipped, VNN-LIB 1.0 or 2.0."""

from __future__ import annotations

import re
from pathlib import Path

from certify.bounded import files
from certify.complete.query import PropertyFile, Query
from certify.complete.reading.tokens import without_comments
from certify.complete.reading.vnnlib1 import read_vnnlib1
from certify.errors import BadInput, needs, one_line

__all__ = ["content_of", "is_packed", "read_property", "read_query", "text_of"]

_VERSION = re.compile(r"\s*\(\s*vnnlib-version\s*<(\d+)\.(\d+)>\s*\)")


def read_query(path: Path | str, inputs: int, outputs: int) -> Query:
    """The query in a property file.

    Args:
        path: VNN-LIB 1.0 or 2.0, gzipped or not.
        inputs, outputs: how many numbers the network reads and writes; tensors are numbered row-major.

    Raises:
        BadInput: if the file cannot be read; one line, with the place in the file where there is one.
        MissingExtra: for VNN-LIB 2.0 without the library vnnlib.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "property.vnnlib")
    >>> size = path.write_text('''
    ... (declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
    ... (assert (<= X_0 0.5)) (assert (>= X_0 -0.5))   ; the box
    ... (assert (<= Y_0 Y_1))
    ... ''')
    >>> case, = read_query(path, inputs=1, outputs=2).cases
    >>> case.holds([0.25], [1, 2]), case.holds([0.75], [1, 2]), case.holds([0.25], [2, 1])
    (True, False, False)
    """
    return read_property(path, inputs, outputs).query


def read_property(path: Path | str, inputs: int, outputs: int) -> PropertyFile:
    """As :func:`read_query`, with the declarations of network and tensors in VNN-LIB 2.0.

    Raises:
        BadInput, MissingExtra: as :func:`read_query`.
    """
    text = without_comments(text_of(path))
    version = _VERSION.match(text)
    try:
        match version[1] if version else "1":
            case "1":
                return PropertyFile(read_vnnlib1(text, inputs, outputs))
            case "2":
                return _read_vnnlib2(text, inputs, outputs)
            case newer:
                raise BadInput(f"VNN-LIB {newer}; versions 1 and 2 are read")
    except BadInput as wrong:
        raise BadInput(f"{path}: {wrong}") from None


def _read_vnnlib2(text: str, inputs: int, outputs: int) -> PropertyFile:
    with needs("vnnlib", "vnnlib", "reading VNN-LIB 2.0"):
        from certify.complete.reading.vnnlib2 import read_vnnlib2
    return read_vnnlib2(text, inputs, outputs)


def text_of(path: Path | str) -> str:
    """The text of a file, unpacked if its content is gzip (whatever its name).

    Raises:
        BadInput: if there is no such file, or it is neither gzip nor UTF-8.
    """
    try:
        return content_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadInput(f"{path} cannot be read as text or gzip: {one_line(problem)}") from problem


def content_of(path: Path | str) -> bytes:
    """The content of a file, unpacked if it is gzip (whatever its name).

    Raises:
        BadInput: if there is no such file, it takes more than a quarter of the free memory, or the gzip is damaged.
    """
    try:
        return files.content_of(path, unpack=True)
    except OSError as problem:
        raise BadInput(f"{path} cannot be read: {problem.strerror}") from problem


def is_packed(path: Path | str) -> bool:
    """Whether a file's content is gzip, as :func:`content_of` sees it.

    Raises:
        BadInput: if there is no such file.
    """
    try:
        with files.opened(path) as file:
            return file.read(len(files.GZIP)) == files.GZIP
    except OSError as problem:
        raise BadInput(f"{path} cannot be read: {problem.strerror}") from problem
