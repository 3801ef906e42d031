"""The records of one run in SQLite: certificates, findings, reports; written once, whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from certify.bounded.texts import strictly_from_json
from certify.core.certificate import Certificate
from certify.core.columns import CertificateColumns, FindingColumns
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.rounding import to_hex
from certify.core.verdict import Verdict
from certify.errors import BadInput, StoreError
from certify.store.columns import Rows, read_certificates, read_findings
from certify.store.opening import SALVAGE, Store

__all__ = ["Records"]

R = TypeVar("R", Certificate, Finding, Reported)
C = TypeVar("C")

_COLUMNS: Final = {
    "certificates": "position, method, settings, verdict, record",
    "findings": "position, attack, settings, record",
    "reported": "position, source, radius, settings, record",
}

_ERROR: Final = r"""((instr(findings.record, '"error"') OR instr(findings.record, '\u00'))
    AND json_valid(findings.record)
    AND EXISTS (SELECT 1 FROM json_each(findings.record) WHERE key='error' AND value!=''))"""
"""Whether a finding says that the attack was not carried out. Hardly any does, and examples are long: few are read.

Others may spell the name with codes of characters, which ``json_each`` reads in every version of SQLite."""

NEAR: Final = 1024
"""How many numbers are tried one by one where rows cannot be read: no damaged page of rows took as many."""

MOST_ROWS: Final = 2**63
"""SQLite numbers rows below this."""


class Records:
    """Certificates, findings and reports of one run; ``settings`` is the digest of the run's settings.

    The file is in WAL mode: what was committed survives a killed process. A record is written once; writing it again
    changes nothing, so resuming and delivering twice are harmless. Only a record of a computation or an attack that
    failed gives way to a later one.

    Raises:
        StoreError: for a file that is no store, is damaged, cannot be written, or is of a newer version.

    >>> with Records(":memory:", settings="abc") as records:
    ...     records.decided("smoothing")
    set()
    """

    def __init__(self, path: Path | str, settings: str, *, read_only: bool = False) -> None:
        self.path, self._settings = path, settings
        self._advice = "restore it from a copy, or run again" if read_only else "check the disk or take another folder"
        with _in_words(path, self._advice, self._advice):
            self._store = Store.to_read(path) if read_only else Store.to_write(path)
        self._db, self._version = self._store.db, self._store.version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with _in_words(self.path, self._advice, SALVAGE), self._store.watched():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All records added inside are kept, or none: what a kill interrupts is computed again, whole."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def add(self, records: Iterable[Certificate | Finding | Reported]) -> None:
        """Write records in one transaction; those already there are left as they are."""
        with self.transaction():
            for record in records:
                with self._store.watched():  # each by itself: any number of them ends
                    self._db.execute(*self._written(record))

    def _written(self, record: Certificate | Finding | Reported) -> tuple[str, tuple[Any, ...]]:
        """The statement that writes a record, and its values."""
        text = json.dumps(record.to_dict(), allow_nan=False)
        if isinstance(record, Certificate):
            return (
                "INSERT INTO certificates VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "verdict=excluded.verdict, record=excluded.record WHERE verdict='error'",
                (record.index, record.method, self._settings, record.verdict.value, text),
            )
        if isinstance(record, Finding):
            return (
                "INSERT INTO findings VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET record=excluded.record "
                f"WHERE {_ERROR}",
                (record.index, record.attack, self._settings, text),
            )
        report = (record.index, record.source_digest, to_hex(record.radius), self._settings, text)
        return "INSERT OR IGNORE INTO reported VALUES (?, ?, ?, ?, ?)", report

    def decided(self, method: str) -> set[int]:
        """Positions that have a certificate by ``method``; failed computations are not among them."""
        query = "SELECT position FROM certificates WHERE method=? AND settings=? AND verdict!=?"
        return self._positions(query, (method, self._settings, Verdict.ERROR.value))

    def with_verdict(self, verdict: Verdict) -> list[Certificate]:
        """All certificates with a verdict, in the order in which they were made."""
        query = "SELECT position, record FROM certificates WHERE settings=? AND verdict=? ORDER BY rowid"
        with self._explained():
            rows = list(self._limited(query, (self._settings, verdict.value)))
        return [self._whole("certificates", position, text, Certificate.from_dict) for position, text in rows]

    def attacked(self, attack: str) -> set[int]:
        """Positions that have a finding by ``attack``; those that could not be attacked are not among them."""
        query = f"SELECT position FROM findings WHERE attack=? AND settings=? AND NOT {_ERROR}"
        return self._positions(query, (attack, self._settings))

    def unattacked(self) -> list[Finding]:
        """All findings that say why an input could not be attacked, in the order in which they were made."""
        query = f"SELECT position, record FROM findings WHERE settings=? AND {_ERROR} ORDER BY rowid"
        with self._explained():
            rows = list(self._limited(query, (self._settings,)))
        return [self._whole("findings", position, text, Finding.from_dict) for position, text in rows]

    def _positions(self, query: str, values: tuple[str, ...]) -> set[int]:
        with self._explained():
            found = {position for (position,) in self._db.execute(query, values)}
        if odd := [position for position in found if type(position) is not int]:
            raise StoreError(f"{self.path} holds a record at {odd[0]!r:.40}, no position; {SALVAGE}")
        return found

    def certificates_elsewhere(self) -> int:
        """How many certificates stand under other settings than those of the run."""
        with self._explained():
            query = "SELECT count(*) FROM certificates WHERE settings!=?"
            return int(self._db.execute(query, (self._settings,)).fetchone()[0])

    def certificates(self) -> list[Certificate]:
        """All certificates, by position, then in the order in which they were made."""
        return list(self.each_certificate())

    def each_certificate(self) -> Iterator[Certificate]:
        """As :meth:`certificates`, one after the other: they need not all fit into memory."""
        return self._read("certificates", "position, rowid", Certificate.from_dict)

    def findings(self) -> list[Finding]:
        """All findings, by position, then in the order in which they were made."""
        return list(self._read("findings", "position, rowid", Finding.from_dict))

    def reported(self) -> list[Reported]:
        """All rows of imported attack logs, log by log in the order in which they were imported."""
        return [] if self._version < 2 else list(self._read("reported", "rowid", Reported.from_dict))

    def certificate_columns(self) -> CertificateColumns:
        """What a table counts of :meth:`certificates`, in the order in which they were made."""
        return self._columns("certificates", read_certificates, Certificate.from_dict)

    def finding_columns(self) -> FindingColumns:
        """What a table counts of :meth:`findings`, in the order in which they were made."""
        return self._columns("findings", read_findings, Finding.from_dict)

    def _columns(
        self, table: str, read: Callable[[Rows, Callable[[int, int], R]], C], of: Callable[[dict[str, Any]], R]
    ) -> C:
        def whole(number: int, position: int) -> R:
            with self._explained():
                [(text,)] = self._db.execute(f"SELECT record FROM {table} WHERE rowid=?", (number,))
            return self._whole(table, position, text, of)

        # As they lie in the file: looking each up by its position takes three times as long.
        query = f"SELECT rowid, position, record FROM {table} WHERE settings=? ORDER BY rowid"
        with self._explained():
            return read(self._limited(query, (self._settings,)), whole)

    def _read(self, table: str, order: str, of: Callable[[dict[str, Any]], R]) -> Iterator[R]:
        query = f"SELECT position, record FROM {table} WHERE settings=? ORDER BY {order}"
        with self._explained():
            for position, text in self._limited(query, (self._settings,)):
                yield self._whole(table, position, text, of)

    def _limited(self, query: str, values: tuple[str, ...] = ()) -> Iterator[Any]:
        """Rows that end in a record, as many as the file has room for."""
        return self._store.limited(self._db.execute(query, values))

    def _whole(self, table: str, position: int, text: str, of: Callable[[dict[str, Any]], R]) -> R:
        """One record of a table, or an error that names it."""
        try:
            record = of(strictly_from_json(text))
            if record.index != position:
                raise BadInput(f"it is about input {record.index!r}")
        except (AttributeError, BadInput, LookupError, TypeError, ValueError) as problem:  # cannot be, or is no JSON
            raise StoreError(
                f"{self.path} holds a damaged record in {table} at {position} ({problem}); {SALVAGE}"
            ) from problem
        return record

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row as it is stored, by column: unread, and those of other settings included."""
        if table == "reported" and self._version < 2:
            return
        with self._explained():
            columns = _COLUMNS[table].split(", ")
            for values in self._limited(f"SELECT {_COLUMNS[table]} FROM {table} ORDER BY position, rowid"):
                yield dict(zip(columns, values, strict=True))

    def readable(self, table: str) -> Iterator[dict[str, Any]]:
        """As :meth:`rows`, one after the other by their numbers: those that a damaged page took are left out."""
        columns = _COLUMNS[table].split(", ")
        for _, *values in self._store.limited(self._by_number(table)):
            yield dict(zip(columns, values, strict=True))

    def _by_number(self, table: str) -> Iterator[tuple[Any, ...]]:
        """The rows that can be read, each after its number."""
        query = f"SELECT rowid, {_COLUMNS[table]} FROM {table} WHERE rowid>=? ORDER BY rowid LIMIT 1"
        first, gap = 1, 0
        while first + gap < MOST_ROWS:
            try:
                with self._store.watched():
                    row = self._db.execute(query, (first + gap,)).fetchone()
            except (sqlite3.DatabaseError, StoreError):
                row = (0,)
            if row is None:
                return
            if row[0] >= first + gap:
                yield row
                first, gap = row[0] + 1, 0
            else:  # a wide gap is crossed in strides: otherwise a file that says that it is large would not end
                gap += 1 + gap // NEAR

    def damage(self) -> str:
        """What is wrong with pages, rows and indexes of the file, in words; empty where nothing is."""
        with self._explained():
            return self._store.damage()

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._store.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _in_words(path: Path | str, advice: str, damaged: str) -> Iterator[None]:
    """Say of what SQLite refuses what to do about it; where the file is damaged, that is something else."""
    try:
        yield
    except sqlite3.Error as problem:
        said = str(problem).partition(" with text ")[0]  # what follows is a record, whole
        code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # a text that is none has no code
        advice = damaged if code & 0xFF == sqlite3.SQLITE_CORRUPT else advice
        raise StoreError(f"{path} cannot be used as a store ({said}); {advice}") from problem
