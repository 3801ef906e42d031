"""The file of a monitor: a header, and one event a line, each with a digest of all that stands before it.

A line is written once and never changed. A process that is killed leaves whole lines, and at most one without an end,
which counts for nothing. Whoever edits a line has to write all later digests anew; and whoever noted the last digest,
which every report prints, sees that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from certify.bounded.files import opened
from certify.core.monitoring import MONITOR, Columns, Event, Header, Late, Row
from certify.core.whole import writing
from certify.errors import StoreError, one_line

__all__ = ["LifeLog", "is_life"]

START: Final = "0" * 64
"""What stands in place of a digest before the first line."""

LONGEST: Final = 2**28
"""Bytes of a line at most."""

_BEFORE, _BETWEEN, _AFTER = b'{"chain":"', b'","event":', b"}"

_EVENT: Final = msgspec.json.Decoder(Header | Columns | Row | Late)


def is_life(path: Path | str) -> bool:
    """Whether a path is that of a monitor's file, by how it begins."""
    try:
        with opened(path) as file:
            start = file.read(len(_BEFORE) + len(START) + len(_BETWEEN) + 200)
    except OSError:
        return False
    return start.startswith(_BEFORE) and b'"type":"monitor"' in start


class LifeLog:
    """The file of one monitor, or the same in memory.

    Args:
        path: the file; None for memory alone, which ends with the process.

    >>> log = LifeLog(None)
    >>> log.append([Columns(("a",))])
    >>> [event for _, event in log.read()]
    [Columns(columns=('a',))]
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)
        self.chain = START
        self._lines: list[bytes] = []
        self._whole = 0  # bytes of whole lines

    def read(self) -> Iterator[tuple[int, Header | Event]]:
        """The number of each line, from 1, and what it holds.

        Raises:
            StoreError: naming the first line that is not what was written there.
        """
        self.chain, self._whole = START, 0
        for number, line in enumerate(self._each_line(), 1):
            event = self._read(line, number)
            if isinstance(event, Header) != (number == 1) and self.path is not None:
                raise StoreError(f"{self.path} line {number}: a header stands first, and only there; restore the file")
            self._whole += len(line) + 1
            yield number, event

    def append(self, events: Sequence[Header | Event]) -> None:
        """Write events behind the ones that were read, and see to it that they are on disk.

        Raises:
            StoreError: where the file cannot be written.
        """
        lines, chain = [], self.chain
        for event in events:
            text = msgspec.json.encode(event)
            chain = _link(chain, text)
            lines.append(_BEFORE + chain.encode() + _BETWEEN + text + _AFTER)
        if self.path is None:
            self._lines, self.chain = self._lines + lines, chain
            return
        written = b"".join(line + b"\n" for line in lines)
        try:
            if not self._whole:  # a file without a header is none: it is there whole, or not at all
                with writing(self.path) as file:
                    file.write(written)
                    _settle(file.fileno())
            else:
                with open(self.path, "r+b") as file:
                    if os.fstat(file.fileno()).st_size < self._whole:
                        raise StoreError(f"{self.path} was shortened meanwhile; restore it from a copy")
                    file.truncate(self._whole)  # a line without an end, of a process that was killed
                    file.seek(self._whole)
                    file.write(written)
                    file.flush()
                    _settle(file.fileno())
        except OSError as problem:
            raise StoreError(f"cannot write {self.path} ({problem.strerror}); choose another --state") from problem
        self._whole, self.chain = self._whole + len(written), chain

    def _each_line(self) -> Iterator[bytes]:
        if self.path is None:
            yield from self._lines
            return
        try:
            with opened(self.path) as file:
                while line := file.readline(LONGEST):
                    if not line.endswith(b"\n"):
                        if len(line) == LONGEST:
                            raise StoreError(f"{self.path} holds a line of more than {LONGEST:,} bytes; restore it")
                        return
                    yield line[:-1]
        except OSError as problem:
            raise StoreError(f"{self.path} cannot be read ({problem.strerror})") from problem

    def _read(self, line: bytes, number: int) -> Header | Event:
        start = len(_BEFORE) + len(START)
        chain, text = line[len(_BEFORE) : start], line[start + len(_BETWEEN) : -1]
        if line != _BEFORE + chain + _BETWEEN + text + _AFTER:
            raise StoreError(f"{self.path} line {number} is none that {MONITOR} writes; restore the file from a copy")
        self.chain = _link(self.chain, text)
        if chain != self.chain.encode():
            raise StoreError(
                f"{self.path} line {number} does not follow from the lines before it: the file was edited; restore it "
                "from a copy"
            )
        try:
            event = _EVENT.decode(text)
        except (msgspec.DecodeError, RecursionError, ValueError) as problem:
            raise StoreError(f"{self.path} line {number} holds something else ({one_line(problem)})") from problem
        if msgspec.json.encode(event) != text:  # names twice, numbers in other forms: each reader would see another one
            raise StoreError(f"{self.path} line {number} is not written as {MONITOR} writes it; restore the file")
        return event


def _link(chain: str, text: bytes) -> str:
    """SHA-256 of the digest so far and a new text.

    >>> _link(START, b"{}")[:12]
    '5508d2b710e6'
    """
    return hashlib.sha256(chain.encode() + text).hexdigest()


def _settle(descriptor: int) -> None:
    """Wait until what was written is on disk."""
    os.fsync(descriptor)
