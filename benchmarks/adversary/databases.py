"""Databases that no run makes: programs in place of tables, and files whose bytes or values were changed at random."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from adversary.forgeries import QUICK, copied, store
from certify.errors import CertifyError
from certify.store.run_folder import RunFolder
from certify.study.checking import check_run
from certify.study.read import summarize_run

__all__ = ["DATABASES", "attempt", "repeated_pages"]


def sql(*commands: str) -> Callable[[Path], None]:
    """A forger who runs commands on the database."""

    def forge(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
            for command in commands:
                db.execute(command)

    return forge


RENAMED: Final = "ALTER TABLE certificates RENAME TO kept"
COLUMNS: Final = "position, method, settings, verdict, record"
ENDLESS: Final = f"""
CREATE VIEW certificates AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n)
SELECT i AS rowid, {COLUMNS} FROM kept, n"""
GENERATED: Final = """
CREATE TABLE certificates (
    position INTEGER NOT NULL, method TEXT NOT NULL, settings TEXT NOT NULL, verdict TEXT NOT NULL, text TEXT NOT NULL,
    record TEXT AS (CASE verdict WHEN 'certified' THEN text ELSE replace(text, 'abstain', 'certified') END),
    PRIMARY KEY (position, method, settings))"""

DATABASES: Final[dict[str, Callable[[Path], None]]] = {
    "a view that the clock decides": sql(
        RENAMED, f"CREATE VIEW certificates AS SELECT rowid, {COLUMNS} FROM kept WHERE strftime('%S') % 2"
    ),
    "a view that never ends": sql(RENAMED, ENDLESS),
    "a view beside the tables": sql("CREATE VIEW other AS SELECT * FROM certificates"),
    "a trigger on what is stored": sql(
        "CREATE TRIGGER more AFTER INSERT ON certificates BEGIN UPDATE certificates SET verdict='certified'; END"
    ),
    "a generated column": sql(RENAMED, GENERATED, f"INSERT INTO certificates SELECT {COLUMNS} FROM kept"),
    "another table": sql("CREATE TABLE other (value)"),
    "another index": sql("CREATE INDEX other ON certificates (abs(position))"),
    "a virtual table": sql("CREATE VIRTUAL TABLE other USING fts5(text)"),
    "a table without its key": sql(
        "CREATE TABLE copies AS SELECT * FROM certificates",
        "DROP TABLE certificates",
        "ALTER TABLE copies RENAME TO certificates",
    ),
    "a text of a table that was written over": sql(
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql=replace(sql, 'verdict TEXT NOT NULL', 'verdict TEXT CHECK (random() > 0)')",
    ),
    "a negative version": sql("DROP TABLE reported", "PRAGMA user_version=-1"),
}
"""Databases that no run makes; none of them may be opened, to read or to write."""


def repeated_pages(folder: Path, rows: int = 40) -> None:
    """Let the table's root name one and the same page of records many times over: a small file with many rows."""
    sql("PRAGMA journal_mode=DELETE", "VACUUM")(folder)
    file = folder / "run.sqlite"
    with store(folder) as db:
        [(root,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name='certificates'").fetchall()
        [(size,)] = db.execute("PRAGMA page_size").fetchall()
    content = bytearray(file.read_bytes())
    page = content[(root - 1) * size : root * size]
    last = len(content) // size + 1
    content += page  # what the root held moves to a page of its own, and the root names it again and again
    cells, place = [], size
    root_page = bytearray(size)
    for number in range(rows):
        place -= 5
        root_page[place : place + 5] = last.to_bytes(4, "big") + bytes([min(number, 127)])
        cells.append(place)
    root_page[0] = 5
    root_page[3:5], root_page[5:7] = rows.to_bytes(2, "big"), place.to_bytes(2, "big")
    root_page[8:12] = last.to_bytes(4, "big")
    for number, place in enumerate(cells):
        root_page[12 + 2 * number : 14 + 2 * number] = place.to_bytes(2, "big")
    content[(root - 1) * size : root * size] = root_page
    content[28:32] = last.to_bytes(4, "big")
    file.write_bytes(content)


def changed_bytes(folder: Path, dice: random.Random) -> None:
    """Write over some bytes of the database, or cut it."""
    sql("PRAGMA journal_mode=DELETE")(folder)
    file = folder / "run.sqlite"
    content = bytearray(file.read_bytes())
    for _ in range(dice.choice([1, 3, 30])):
        content[dice.randrange(dice.choice([100, 4096, len(content)]))] = dice.choice([0, 255, dice.randrange(256)])
    if dice.random() < 0.2:
        del content[dice.randrange(len(content)) :]
    file.write_bytes(content)


VALUES: Final = (
    None, -1, 2**62, 2.5, float("inf"), "", "{}", "[]", "null", "[" * 5000, "\x1b[2J", b"\xff\xfe", b"", "certified",
    '{"a": 1e999}',
)  # fmt: skip


def changed_values(folder: Path, dice: random.Random) -> None:
    """Write a value of any type into some field of a row, or repeat or drop rows."""
    table = dice.choice(["certificates", "findings"])
    with store(folder) as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        rows = [row[0] for row in db.execute(f"SELECT rowid FROM {table}")]
        for _ in range(dice.choice([1, 4])) if rows else ():
            name, value = dice.choice(columns), dice.choice(VALUES)
            row, other = dice.choice(rows), dice.choice(rows)
            change = {
                "value": (f"UPDATE {table} SET {name}=? WHERE rowid=?", (value, row)),
                "no row": (f"DELETE FROM {table} WHERE rowid=?", (row,)),
                "moved": (f"UPDATE {table} SET position=position+? WHERE rowid=?", (dice.choice([1, 10**12]), row)),
                "copied": (
                    f"UPDATE {table} SET record=(SELECT record FROM {table} WHERE rowid=?) WHERE rowid=?",
                    (row, other),
                ),
            }[dice.choice(["value", "value", "no row", "moved", "copied"])]
            try:
                db.execute(*change)
            except sqlite3.IntegrityError:
                continue


SECONDS: Final = 60.0
"""In which every command has to end, on a busy machine as well."""


def attempt(seed: int) -> str | None:
    """One hostile database: None if nobody is misled by it, otherwise what happened."""
    dice = random.Random(f"databases {seed}")
    with copied(dice.choice(QUICK)) as folder:
        said = _content(folder)
        way = dice.choice(["program", "bytes", "values"])
        if way == "program":
            way = dice.choice(list(DATABASES))
            DATABASES[way](folder)
        else:
            (changed_bytes if way == "bytes" else changed_values)(folder, dice)
        begin = time.monotonic()
        try:
            _content(folder)
            summarize_run(folder)
        except CertifyError as refusal:
            return f"{way}: more than a line: {refusal}" if "\n" in str(refusal) else None
        except Exception as crash:
            return f"{way}: {type(crash).__name__}: {crash}"
        if way in DATABASES:
            return f"{way} is read"
        try:
            found = check_run(folder)
        except CertifyError:
            return None
        except Exception as crash:
            return f"{way}: a check crashed: {type(crash).__name__}: {crash}"
        if time.monotonic() - begin > SECONDS:
            return f"{way}: took longer than {SECONDS} s"
        if not found.refuted and _content(folder) != said:
            return f"{way}: other records than were made, and a check refutes none"
    return None


def _content(folder: Path) -> list[str]:
    """What the product reads from a run."""
    with RunFolder.open(folder) as run:
        return [str(one.to_dict()) for one in (*run.records.certificates(), *run.records.findings())]
