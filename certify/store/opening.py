"""The one way to a run's database: opened only where its schema is exactly ours, and read with an end in sight.

Whoever hands a run over may have made the file. A view, a trigger or a generated column would let it say one thing to
one reader and another to the next, change what is written, or never end; pages that are used twice would let a small
file hold any number of records.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import Final, TypeVar

from certify.errors import StoreError

__all__ = ["LOGS", "SALVAGE", "SCHEMA_VERSION", "Store"]

T = TypeVar("T", bound=tuple[object, ...])

SCHEMA_VERSION: Final = 2
"""1: certificates and findings. 2: ``reported`` as well; a file of version 1 has none and reads like an empty one."""

_TABLES: Final = (
    """
CREATE TABLE IF NOT EXISTS certificates (
    position INTEGER NOT NULL, method TEXT NOT NULL, settings TEXT NOT NULL,
    verdict TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (position, method, settings));
CREATE TABLE IF NOT EXISTS findings (
    position INTEGER NOT NULL, attack TEXT NOT NULL, settings TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (position, attack, settings));
""",
    """
CREATE TABLE IF NOT EXISTS reported (
    position INTEGER NOT NULL, source TEXT NOT NULL, radius TEXT NOT NULL, settings TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (position, source, radius, settings));
""",
)
"""What each version added."""

SALVAGE: Final = "restore it from a copy, or keep what can be read: certify salvage RUN --out NEW"
"""What to do about a run of which some records can still be read."""

LOGS: Final = ("wal", "journal")
"""What may hold committed rows beside the file; ``shm`` only helps to find them."""

LONGEST: Final = 2**28
"""Bytes of a row at most."""

STEP: Final = 10_000
LEAST: Final = 10**7
"""Steps of SQLite's machine between two looks at the limit, and how many a statement has beside one for each byte of
the file. A row takes about twenty, and hundreds of bytes."""


@dataclass(slots=True, eq=False)
class Store:
    """An open database of records, in which nothing but the tables of a run was found.

    Args:
        path: the file, or ``":memory:"``.
        db: its connection.
        version: of its schema.
    """

    path: Path | str
    db: sqlite3.Connection
    version: int
    _steps: int = field(default=0, init=False)
    _copy: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def to_read(cls, path: Path | str) -> Store:
        """Open it without changing anything in its folder.

        Raises:
            sqlite3.Error: for a file that is no database.
            StoreError: for one of a newer version, or with anything in it that no run makes.
        """
        _refuse_pipes(path)
        uri, copy = f"{Path(path).absolute().as_uri()}?mode=ro", None
        try:
            db = _asked(uri)
        except sqlite3.OperationalError:
            if any(_size(f"{path}-{log}") for log in LOGS):  # rows are there that only a writer could reach
                copy = _copied(path)
                db = _asked(Path(copy.name, "run.sqlite").as_uri())
            else:  # not even lock files can be written: nobody changes it
                db = _asked(f"{uri}&immutable=1")
        return cls(path, db, _version(path, db, empty=False), copy)._limited()

    @classmethod
    def to_write(cls, path: Path | str) -> Store:
        """Open it, or make it, to add records; see :meth:`to_read`."""
        _refuse_pipes(path)
        db = sqlite3.connect(path, isolation_level=None)
        _version(path, db, empty=True)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(f"BEGIN IMMEDIATE; {''.join(_TABLES)} PRAGMA user_version={SCHEMA_VERSION}; COMMIT")
        return cls(path, db, SCHEMA_VERSION)._limited()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Statements inside end after a number of steps that no honest file of this size asks for.

        Raises:
            StoreError: where one does not.
        """
        self._begin()
        try:
            yield
        except sqlite3.OperationalError as problem:
            if self._steps < 0:
                raise StoreError(f"reading {self.path} does not end; restore it from a copy, or run again") from problem
            if str(problem) == "interrupted":  # by Ctrl-C, while the steps were counted
                raise KeyboardInterrupt from problem
            raise

    def limited(self, rows: Iterable[T]) -> Iterator[T]:
        """Rows, as long as their texts are no longer than the file."""
        left = self.size
        for row in rows:
            for value in row:
                if isinstance(value, str | bytes):
                    left -= len(value)
            if left < 0 and self.path != ":memory:":
                raise StoreError(f"{self.path} holds more than its size: pages are used twice; restore it or run again")
            yield row

    def damage(self) -> str:
        """What SQLite finds wrong with pages, rows and indexes, in words; empty where they are as they should be."""
        [said] = self.db.execute("PRAGMA integrity_check(1)").fetchone()
        return "" if said == "ok" else str(said)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self.db.close()
        if self._copy is not None:
            self._copy.cleanup()

    @property
    def size(self) -> int:
        """Bytes of the file and its logs."""
        return _size(self.path) + sum(_size(f"{self.path}-{log}") for log in LOGS)

    def _limited(self) -> Store:
        self._begin()
        self.db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        if self.path != ":memory:":
            self.db.set_progress_handler(self._step, STEP)
        return self

    def _begin(self) -> None:
        self._steps = LEAST + self.size

    def _step(self) -> bool:
        self._steps -= STEP
        return self._steps < 0


def _asked(uri: str) -> sqlite3.Connection:
    """A connection that has read the schema, so that it can."""
    db = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db


def _copied(path: Path | str) -> tempfile.TemporaryDirectory[str]:
    """A database and its logs in a folder where SQLite may write, to bring back what was committed."""
    copy = tempfile.TemporaryDirectory(prefix="certify-")
    try:
        for name in ("", *(f"-{log}" for log in LOGS if Path(f"{path}-{log}").is_file())):
            copyfile(f"{path}{name}", f"{copy.name}/run.sqlite{name}")
    except OSError as problem:
        copy.cleanup()
        said = f"{path} has rows in its log, and reading those takes a copy that failed ({problem.strerror})"
        raise StoreError(f"{said}; copy the run to where you may write") from problem
    return copy


def _refuse_pipes(path: Path | str) -> None:
    """SQLite would wait for somebody who writes to a pipe that has the name of a log."""
    for log in (*LOGS, "shm"):
        file = Path(f"{path}-{log}")
        if file.exists() and not file.is_file():
            raise StoreError(f"{file} is no file, and no run makes such a thing: remove it, or restore the run")


def _size(file: Path | str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _version(path: Path | str, db: sqlite3.Connection, *, empty: bool) -> int:
    """The version of a database whose schema is the one of that version; of an ``empty`` one, where that may be."""
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer version (schema {version}); upgrade certify")
        found, known = _schema(db), range(0 if empty else 1, SCHEMA_VERSION + 1)
        if version not in known or found != _schema_of(version):
            raise StoreError(f"{path} is no store of a run: {_strange(found)}; restore it from a copy, or run again")
    except BaseException:
        db.close()
        raise
    return version


Entry = tuple[str, str, str, str]
"""Type, name, table and text of what a schema holds."""


def _schema(db: sqlite3.Connection) -> set[Entry]:
    """All that the schema holds, with runs of spaces in a text as one; it is only read, and nothing of it is run."""
    rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return {(str(kind), str(name), str(table), " ".join(str(sql).split())) for kind, name, table, sql in rows}


@lru_cache
def _schema_of(version: int) -> frozenset[Entry]:
    db = sqlite3.connect(":memory:")
    try:
        db.executescript("".join(_TABLES[:version]))
        return frozenset(_schema(db))
    finally:
        db.close()


def _strange(found: set[Entry]) -> str:
    """What is in a schema and should not be, or the other way round, in words."""
    ours = _schema_of(SCHEMA_VERSION)
    for kind, name, *_ in sorted(found - ours):
        known = any(name == other for _, other, *_ in ours)
        return f"its {kind} {name[:40]!r} is another one" if known else f"it holds the {kind} {name[:40]!r}"
    missing = sorted(name for kind, name, *_ in ours - found if kind == "table")
    return f"it lacks the table {missing[0]!r}" if missing else "it says that it is of another version"
