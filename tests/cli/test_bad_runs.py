"""What a run folder can be instead of whole, and that every command that reads one says so in one line."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from certify.cli import main

COMMANDS = {
    "summary": ("summary", "RUN"),
    "report": ("report", "RUN", "--html", "page.html"),
    "compare": ("compare", "RUN", "OTHER"),
    "gate": ("gate", "RUN", "--policy", "POLICY.toml"),
    "check": ("check", "RUN"),
    "export": ("export", "RUN", "--out", "records.jsonl"),
    "export attack logs": ("export", "RUN", "--attack-logs"),
    "merge": ("merge", "RUN", "--out", "merged"),
}


def sql(*commands: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        with closing(sqlite3.connect(run / "run.sqlite", isolation_level=None)) as db:
            for command in commands:
                db.execute(command)

    return damage


def manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        fields = json.loads((run / "manifest.json").read_text())
        change(fields["settings"])
        (run / "manifest.json").write_text(json.dumps(fields))

    return damage


def truncated(run: Path) -> None:
    sql("PRAGMA wal_checkpoint(TRUNCATE)")(run)
    file = run / "run.sqlite"
    file.write_bytes(file.read_bytes()[:3000])


def deleted(name: str) -> Callable[[dict], object]:
    return lambda settings: settings.pop(name)


def set_to(field: str, value: str) -> str:
    return f"SET record=json_set(record, '$.{field}', json('{value}')) WHERE position=1"


UNFINISHED = {
    "certifying": sql("DELETE FROM certificates WHERE position > 1", "DELETE FROM findings"),
    "attacking": sql("DELETE FROM findings WHERE position > 1"),
}
LONGER = "UPDATE certificates SET record=replace(record, '\"radius\": 0.', '\"radius\": 9.') WHERE position=0"
CUT = "SET record=substr(record, 1, 40) WHERE position=1"
NO_TEXT = "SET record=CAST(x'ff' || record AS TEXT) WHERE position=1"

BAD = {
    "empty": (sql("DELETE FROM certificates", "DELETE FROM findings"), "holds no certificate yet; finish the run"),
    "truncated": (truncated, "cannot be used as a store"),
    "newer": (sql("PRAGMA user_version=99"), "was written by a newer version (schema 99); upgrade"),
    "no record column": (
        sql("ALTER TABLE certificates RENAME COLUMN record TO text"),
        "its table 'certificates' is another one",
    ),
    "no such table": (sql("DROP TABLE certificates"), "it lacks the table 'certificates'"),
    "no text": (sql(f"UPDATE certificates {NO_TEXT}"), "Could not decode to UTF-8 column 'record'"),
    "no manifest": (lambda run: (run / "manifest.json").unlink(), "is not a run folder"),
    "half a manifest": (lambda run: (run / "manifest.json").write_text('{"settings": {'), "damaged or no manifest"),
    "no threat": (manifest(deleted("threat")), "missing required field `threat`"),
    "no inputs": (manifest(lambda settings: settings["data"].pop("inputs")), "field `inputs` - at `$.data`"),
    "no shard": (manifest(deleted("shard")), "missing required field `shard`"),
    "no attack": (manifest(deleted("attack")), "missing required field `attack`"),
    "no norm": (manifest(lambda settings: settings["threat"].update(norm="l7")), "l7"),
    "a text": (manifest(lambda settings: settings.update(inputs="4")), "Expected `int`, got `str` - at `$.inputs`"),
}
"""Damage that no command reads past, and what it says."""

EDITED = {
    "longer radius": (sql(LONGER), "differ in one record"),
    "cut": (sql(f"UPDATE certificates {CUT}"), "damaged record in certificates"),
    "no table": (sql("UPDATE findings SET record='[]' WHERE position=1"), "damaged record in findings at 1"),
    "no radii": (sql(f"UPDATE findings {set_to('radii', '[]')}"), "has the radii that were tried"),
    "no settings": (sql(f"UPDATE findings {set_to('settings', 'null')}"), "table of the attack's settings"),
    "finding": (sql(f"UPDATE findings {CUT}"), "damaged record in findings"),
    "moved": (sql("UPDATE certificates SET position=9 WHERE position=3"), "about input 3"),
    "no number": (sql("UPDATE certificates SET position='three' WHERE position=3"), "about input 3"),
    "settings": (
        manifest(lambda settings: settings.update(seed=7)),
        "4 certificates in run stand under other",
    ),
}
"""Records or settings that are not what they were: a check names them as refuted, on standard output."""


SALVAGED = {"no text", *EDITED} - {"settings"}
"""What leaves records that can be read, and that can be saved."""


def ran(command: str) -> int:
    places = {"RUN": "run", "OTHER": "other"}
    return main([places.get(word, word) for word in COMMANDS[command]])


@pytest.mark.parametrize("situation", BAD | EDITED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_run_is_one_line_and_2(two_runs, capsys, command, situation):
    damage, words = (BAD | EDITED)[situation]
    damage(two_runs)
    capsys.readouterr()
    code = ran(command)
    printed = capsys.readouterr()
    if command == "check" and situation in EDITED:
        assert code == 1
        assert "refuted: " in printed.out
        return
    assert code == 2, printed
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert "unexpected" not in printed.err
    assert len(printed.err) < 300
    assert ("certify salvage RUN" in printed.err) == (situation in SALVAGED)
    assert not list(Path().glob("*.html")) + list(Path().glob("*.jsonl*"))


@pytest.mark.parametrize("stage", UNFINISHED)
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "export attack logs"])
def test_a_run_in_progress_is_3(two_runs, capsys, command, stage):
    for run in (two_runs, Path("other")):
        UNFINISHED[stage](run)
    capsys.readouterr()
    assert ran(command) == 3
    printed = capsys.readouterr()
    said = Path("page.html").read_text() if command == "report" else printed.out + printed.err
    assert re.search(r"incomplete|\d of 4 inputs|unfinished", said, re.IGNORECASE)


def test_a_run_in_progress_beside_a_whole_one_is_3(two_runs, capsys):
    UNFINISHED["certifying"](two_runs)
    asked = 'kind = "non_inferior"\nradius = 0.1\nmargin = 0.5\n'
    Path("POLICY.toml").write_text(f'[threat]\nnorm = "linf"\n[[require]]\n{asked}')
    for command in (["compare", "run", "other"], ["gate", "other", "--policy", "POLICY.toml", "--baseline", "run"]):
        assert main(command) == 3
        printed = capsys.readouterr()
        assert "run misses 2 of the other's inputs (positions 2, 3); run is incomplete" in printed.err
        assert [line.startswith("deriving") for line in printed.err.splitlines()].count(False) == 1
        assert printed.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_whole_run_is_not_refused(two_runs, capsys, command):
    assert ran(command) == {"check": 3, "export attack logs": 2}.get(command, 0)  # no model to check examples with
