"""The store: what goes in comes out, once, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
from dataclasses import replace

import pytest

from certify.certifiers.smooth import smooth
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.verdict import Verdict
from certify.errors import StoreError
from certify.store import opening, run_folder
from certify.store.export import EXPORTS
from certify.store.records import Records
from certify.store.run_folder import Manifest, RunFolder


@pytest.fixture
def certificates(halves, l2) -> list[Certificate]:
    return smooth(halves, [[0.8, 0.2], [0.55, 0.45], [0.5, 0.5]], [0, 0, 1], threat=l2, sigma=0.25, n=1000)


def test_records_round_trip_in_order(tmp_path, certificates):
    with Records(tmp_path / "run.sqlite", "s") as records:
        records.add(reversed(certificates))
    with Records(tmp_path / "run.sqlite", "s") as records:
        assert records.certificates() == certificates
        assert records.decided("smoothing") == {0, 1, 2}
        assert records.decided("crown") == set()
    with Records(tmp_path / "run.sqlite", "other settings") as records:
        assert records.certificates() == []


def test_writing_twice_changes_nothing(certificates):
    with Records(":memory:", "s") as records:
        records.add(certificates)
        records.add([replace(one, verdict=Verdict.UNKNOWN, radius=None) for one in certificates])
        assert records.certificates() == certificates


def test_a_failed_computation_gives_way_to_a_later_result(certificates):
    failed = replace(certificates[0], verdict=Verdict.ERROR, radius=None, reason="out of memory")
    with Records(":memory:", "s") as records:
        records.add([failed])
        assert records.decided("smoothing") == set()
        assert records.certificates() == [failed]
        records.add([certificates[0]])
        assert records.certificates() == [certificates[0]]
        records.add([failed])
        assert records.certificates() == [certificates[0]]


def test_an_attack_that_failed_gives_way_to_a_later_finding():
    found = Finding(3, "ab", 0, 0, "l2", (0.5,), "pgd", {"error": 7}, 7)
    failed = replace(found, prediction=None, error='"error": "out of memory"')
    with Records(":memory:", "s") as records:
        records.add([failed])
        assert (records.attacked("pgd"), [one.error for one in records.unattacked()]) == (set(), [failed.error])
        assert records.finding_columns().error.tolist() == [True]
        records._db.execute(r"""UPDATE findings SET record=replace(record, '"error": "\"', '"\u0065rror": "\"')""")
        assert (records.attacked("pgd"), [one.error for one in records.unattacked()]) == (set(), [failed.error])
        assert records.finding_columns().error.tolist() == [True]
        for later in (found, failed):
            records.add([later])
            assert (records.attacked("pgd"), records.unattacked()) == ({3}, [])
            assert [one.to_dict() for one in records.findings()] == [found.to_dict()]
            assert records.finding_columns().error.tolist() == [False]


def test_an_interrupted_transaction_leaves_nothing(certificates):
    def interrupted():
        yield certificates[0]
        raise KeyboardInterrupt

    with Records(":memory:", "s") as records:
        with pytest.raises(KeyboardInterrupt):
            records.add(interrupted())
        assert records.certificates() == []
        records.add(certificates)
        assert len(records.certificates()) == 3


def report(index: int, **changes) -> Reported:
    fields = {"label": 1, "prediction": None, "base_prediction": 2, "norm": "l2", "radius": 0.1, "source": "log"}
    return Reported(index=index, **{**fields, "source_digest": "d", **changes})


def test_one_transaction_takes_any_number_of_records(tmp_path, monkeypatch):
    """The steps of a statement are limited by the size of the file, which all of a transaction would go beyond."""
    monkeypatch.setattr(opening, "LEAST", opening.STEP)
    with Records(tmp_path / "run.sqlite", "s") as records:
        records.add(report(index) for index in range(5000))
        assert len(records.reported()) == 5000


def test_rows_of_attack_logs_are_kept_once_log_by_log(tmp_path):
    rows = [report(20), report(0, prediction=1), report(0, radius=0.2), report(0, source_digest="other")]
    with Records(tmp_path / "run.sqlite", "s") as records:
        records.add(rows)
        records.add([report(20, prediction=7)])
    with Records(tmp_path / "run.sqlite", "s", read_only=True) as records:
        assert records.reported() == rows
    text = io.StringIO()
    EXPORTS["jsonl"](rows, text)
    assert [Reported.from_dict(json.loads(line)) for line in text.getvalue().splitlines()] == rows
    table = io.StringIO()
    EXPORTS["csv"](rows, table)
    assert [line["radius"] for line in csv.DictReader(io.StringIO(table.getvalue()))] == ["0.100000"] * 2 + [
        "0.200000",
        "0.100000",
    ]


def test_a_store_of_the_first_version_is_read_and_written_on(tmp_path, certificates):
    path = tmp_path / "run.sqlite"
    with Records(path, "s") as records:
        records.add(certificates)
        records._db.execute("DROP TABLE reported")
        records._db.execute("PRAGMA user_version=1")
    with Records(path, "s", read_only=True) as records:
        assert (records.certificates(), records.reported()) == (certificates, [])
    with Records(path, "s") as records:
        records.add([report(0)])
        assert (records.certificates(), records.reported()) == (certificates, [report(0)])


def test_the_store_is_in_wal_mode(tmp_path):
    with Records(tmp_path / "run.sqlite", "s"):
        mode = sqlite3.connect(tmp_path / "run.sqlite").execute("PRAGMA journal_mode").fetchone()
    assert mode == ("wal",)


def test_rows_in_a_log_are_read_where_nothing_can_be_written(tmp_path, certificates, monkeypatch):
    """A killed run on a disk that is read-only: the log is there, and what finds its rows cannot be made."""
    (tmp_path / "made").mkdir()
    (tmp_path / "copied").mkdir()
    with Records(tmp_path / "made" / "run.sqlite", "s") as records:
        records.add(certificates)
        for name in ("run.sqlite", "run.sqlite-wal"):
            shutil.copy(tmp_path / "made" / name, tmp_path / "copied")
    asked = opening._asked

    def refused(uri: str) -> sqlite3.Connection:
        if "mode=ro" in uri and "immutable" not in uri:
            raise sqlite3.OperationalError("unable to open database file")
        return asked(uri)

    monkeypatch.setattr(opening, "_asked", refused)
    before = (tmp_path / "copied" / "run.sqlite-wal").read_bytes()
    with Records(tmp_path / "copied" / "run.sqlite", "s", read_only=True) as records:
        assert records.certificates() == certificates
    assert sorted(file.name for file in (tmp_path / "copied").iterdir()) == ["run.sqlite", "run.sqlite-wal"]
    assert (tmp_path / "copied" / "run.sqlite-wal").read_bytes() == before


@pytest.mark.parametrize("text", ['{"index": 0, "index": 1}', '{"index": NaN}', "[" * 100_000])
def test_a_text_that_parsers_read_differently_is_damaged(certificates, text):
    with Records(":memory:", "s") as records:
        records.add(certificates)
        records._db.execute("UPDATE certificates SET record=? WHERE position=1", (text,))
        with pytest.raises(StoreError, match="damaged record in certificates at 1"):
            records.certificates()


def test_files_that_are_no_store_are_refused(tmp_path, certificates):
    (tmp_path / "text.sqlite").write_text("this is no database, but it is long enough to be read as one" * 50)
    with pytest.raises(StoreError, match="cannot be used as a store .*; check the disk or take another folder"):
        Records(tmp_path / "text.sqlite", "s")
    with pytest.raises(StoreError, match="restore it from a copy, or run again"):
        Records(tmp_path / "text.sqlite", "s", read_only=True)
    with Records(tmp_path / "newer.sqlite", "s") as records:
        records._db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="newer version"):
        Records(tmp_path / "newer.sqlite", "s")
    with Records(tmp_path / "damaged.sqlite", "s") as records:
        records.add(certificates)
        records._db.execute("UPDATE certificates SET record=substr(record, 1, 40)")
        with pytest.raises(StoreError, match="damaged record"):
            records.certificates()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("index", '"0"', "whole number, got '0'"),
        ("index", "77", "it is about input 77"),
        ("index", "1", "it is about input 1"),
        ("label", "0.0", "whole number, got 0.0"),
        ("label", '"1"', "whole number"),
        ("evidence", "null", "has evidence"),
        ("evidence.looks", "[]", "have to ascend"),
        ("evidence.looks[0].counts", "[]", "not a certificate record"),
        ("evidence.q_upper", "0.99", "need not be the most probable"),
        ("evidence.draws_alpha", "0.01", "more than the 0.001 claimed"),
        ("radius_hex", '"0x1p+99999"', "not a certificate record"),
        ("guarantee", '"empirical"', "damaged record"),
    ],
)
def test_records_that_contradict_themselves_are_one_line(certificates, path, value, words):
    with Records(":memory:", "s") as records:
        records.add(certificates)
        records._db.execute(
            "UPDATE certificates SET record=json_set(record, ?, json(?)) WHERE position=0", ("$." + path, value)
        )
        with pytest.raises(StoreError, match=words) as problem:
            records.certificates()
    assert "damaged record in certificates at 0" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_rows_of_attack_logs_stand_where_they_belong():
    with Records(":memory:", "s") as records:
        records.add([report(3)])
        records._db.execute("UPDATE reported SET position=4")
        with pytest.raises(StoreError, match="in reported at 4"):
            records.reported()


@pytest.mark.parametrize("column", ["record", "verdict", "settings"])
def test_a_store_without_one_of_its_columns_is_damaged(tmp_path, certificates, column):
    with Records(tmp_path / "run.sqlite", "s") as records:
        records.add(certificates)
        assert [row["position"] for row in records.rows("certificates")] == [0, 1, 2]
        records._db.execute(f"ALTER TABLE certificates RENAME COLUMN {column} TO other")
        with pytest.raises(StoreError, match=f"no such column: {column}"):
            list(records.rows("certificates"))


def test_what_is_no_text_is_said_without_showing_it(tmp_path, certificates):
    with Records(tmp_path / "run.sqlite", "s") as records:
        records.add(certificates)
        records._db.execute("UPDATE certificates SET record=CAST(x'ff' || record AS TEXT) WHERE position=1")
        for read in (records.certificates, records.certificate_columns, lambda: list(records.rows("certificates"))):
            with pytest.raises(StoreError, match="Could not decode to UTF-8 column 'record'") as problem:
                read()
            assert "input_digest" not in str(problem.value)


def test_a_manifest_without_what_readers_need_makes_no_readable_run(tmp_path):
    with RunFolder.create(tmp_path / "run", Manifest({"seed": 0})) as made:
        assert made.records.certificates() == []
    with pytest.raises(StoreError, match="lacks what a run needs .*missing required field `model`"):
        RunFolder.open(tmp_path / "run")


def test_a_folder_made_with_other_settings_is_refused_and_the_difference_named(tmp_path):
    with RunFolder.create(tmp_path / "run", Manifest({"seed": 0, "threat": {"norm": "l2", "radii": [0.1]}})):
        pass
    with pytest.raises(StoreError, match=r"threat.radii is \[0.1\] there, \[0.2\] now"):
        RunFolder.create(tmp_path / "run", Manifest({"seed": 0, "threat": {"norm": "l2", "radii": [0.2]}}))
    settings = {"threat": {"radii": [0.1], "norm": "l2"}, "seed": 0}
    with RunFolder.create(tmp_path / "run", Manifest(settings, {"command": "other"})) as again:
        assert again.manifest.context == {}


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_make_a_folder_at_the_same_time_with_other_settings_one_is_refused(tmp_path, monkeypatch, links):
    def meanwhile(path):
        with monkeypatch.context() as patch:
            patch.setattr(run_folder, "_refuse_orphans", lambda path: None)
            RunFolder.create(path, Manifest({"seed": 0})).records.close()

    def refuse(*names):
        raise PermissionError("one name a file")

    monkeypatch.setattr(run_folder, "_refuse_orphans", meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="made with other settings .seed is 0 there, 1 now"):
        RunFolder.create(tmp_path / "run", Manifest({"seed": 1}))
    with RunFolder.create(tmp_path / "same", Manifest({"seed": 0})) as made:
        assert made.manifest.settings == {"seed": 0}
    for name in ("run", "same"):
        assert json.loads((tmp_path / name / "manifest.json").read_text())["settings"] == {"seed": 0}
        assert not list((tmp_path / name).glob("*.tmp"))


def test_folders_that_are_no_runs_are_refused(tmp_path):
    with pytest.raises(StoreError, match="not a run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.sqlite").touch()
    for text in ("{", "[]", '{"settings": [], "context": {}}', '{"settings": {}, "context": []}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(StoreError, match="damaged or no manifest"):
            RunFolder.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        RunFolder.create(tmp_path / "file" / "run", Manifest({}))


def test_a_spreadsheet_runs_nothing_and_a_terminal_shows_all(certificates):
    planted = [replace(certificates[0], reason=text) for text in ("=cmd|'/c calc'!A1", "@x", " +1", "a\x1b[2J\nb")]
    table = io.StringIO()
    EXPORTS["csv"](planted, table)
    assert "\x1b" not in table.getvalue()
    read = [row["reason"] for row in csv.DictReader(io.StringIO(table.getvalue()))]
    assert read[:3] == ["'=cmd|'/c calc'!A1", "'@x", "' +1"]
    assert read[3].startswith("a\ufffd")


def test_exports_carry_the_exact_radius_and_print_it_rounded_down(certificates):
    text = io.StringIO()
    EXPORTS["jsonl"](certificates, text)
    lines = text.getvalue().splitlines()
    assert [Certificate.from_dict(json.loads(line)) for line in lines] == certificates
    promised = (
        "index input_digest label prediction verdict radius radius_hex norm guarantee alpha method evidence seconds "
        "forward_passes"
    )
    assert set(promised.split()) <= set(json.loads(lines[0]))
    table = io.StringIO()
    EXPORTS["csv"](certificates, table)
    for row, certificate in zip(csv.DictReader(io.StringIO(table.getvalue())), certificates, strict=True):
        if certificate.radius is None:
            assert row["radius"] == ""
        else:
            assert float(row["radius"]) <= certificate.radius == float.fromhex(row["radius_hex"])
