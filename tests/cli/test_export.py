"""``certify export``: what is written, what is refused, and the exit codes of what the run has to say."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from certify.cli import main
from certify.core.certificate import Certificate
from certify.store.export import EXPORTS
from certify.store.records import Records
from certify.store.run_folder import RunFolder
from certify.study.read import certificates_of


def findings_of(path):
    with RunFolder.open(path) as folder:
        return folder.records.findings()


def sql(command: str) -> None:
    with closing(sqlite3.connect("run/run.sqlite", isolation_level=None)) as db:
        db.execute(command)


def contradict(run: Path) -> None:
    """An example of the first input at 0.1, inside the radius that is certified for it."""
    found = findings_of(run)
    near = {"radius": 0.1, "distance": 0.1, "x_adv": np.float32([0, 0]), "adversarial_prediction": 1}
    with RunFolder.open(run) as folder:
        manifest = folder.manifest
    sql("DELETE FROM findings")
    with RunFolder.create(run, manifest) as folder:
        folder.records.add([replace(found[0], **near), *found[1:]])


def test_the_records_of_a_whole_run_and_nothing_else(two_runs, capsys):
    assert main(["export", "run"]) == 0
    printed = capsys.readouterr()
    records = [Certificate.from_dict(json.loads(line)) for line in printed.out.splitlines()]
    assert records == list(certificates_of(two_runs))
    assert printed.err == ""


@pytest.mark.parametrize("format", EXPORTS)
def test_a_file_holds_what_standard_output_would(two_runs, capfdbinary, format, monkeypatch):
    monkeypatch.delattr(Records, "certificates")  # all at once: an export has one after the other
    assert main(["export", "run", "--format", format]) == 0
    printed = capfdbinary.readouterr().out
    assert main(["export", "run", "--format", format, "--out", "records"]) == 0
    assert Path("records").read_bytes() == printed


@pytest.mark.parametrize("format", EXPORTS)
def test_the_manifest_stands_beside_records_that_can_be_checked(two_runs, format):
    assert main(["export", "run", "--format", format]) == 0
    assert not [*Path().glob("*manifest.json")]  # standard output has no place beside it
    assert main(["export", "run", "--format", format, "--out", f"first.records.{format}"]) == 0
    beside = {one.name: one.read_bytes() for one in Path().glob("*manifest.json")}
    whole = (two_runs / "manifest.json").read_bytes()
    assert beside == ({} if format == "csv" else {"first.records.manifest.json": whole})
    assert main(["check", f"first.records.{format}"]) == (2 if format == "csv" else 3)  # 3: the model is not at hand


def test_a_manifest_that_other_records_need_is_not_replaced(two_runs, capsys):
    assert main(["export", "run", "--out", "records.jsonl"]) == 0
    assert main(["export", "other", "--format", "parquet", "--out", "records.parquet"]) == 2
    assert capsys.readouterr().err == (
        "certify: records.manifest.json is that of another run, and records.jsonl needs it; "
        "choose another file than records.parquet\n"
    )
    assert not Path("records.parquet").exists()
    assert main(["export", "run", "--format", "parquet", "--out", "records.parquet"]) == 0  # of the same run
    Path("records.parquet").unlink()
    assert main(["export", "other", "--out", "records.jsonl"]) == 0  # both are replaced
    assert Path("records.manifest.json").read_bytes() == Path("other/manifest.json").read_bytes()


@pytest.mark.parametrize("options", [[], ["--out", "records"]])
def test_an_unfinished_run_is_written_and_said_to_be_one(two_runs, capsys, options):
    sql("DELETE FROM findings WHERE position > 1")
    assert main(["export", "run", *options]) == 3
    printed = capsys.readouterr()
    text = Path("records").read_text() if options else printed.out
    assert len(text.splitlines()) == 4
    assert printed.err == "run is incomplete: certify summary run says more\n"


def test_a_contradiction_is_said_and_has_its_own_code(two_runs, capsys):
    contradict(two_runs)
    assert main(["export", "run"]) == 4
    assert capsys.readouterr().err == "run holds contradictions: certify summary run says more\n"
    assert main(["summary", "run"]) == 4


def test_what_cannot_be_read_whole_is_not_written_in_part(two_runs, capsys):
    Path("records").write_text("of last week")
    sql("UPDATE findings SET record=substr(record, 1, 40) WHERE position=3")
    assert main(["export", "run", "--out", "records"]) == 2
    assert "damaged record in findings at 3" in capsys.readouterr().err
    assert Path("records").read_text() == "of last week"


def test_a_file_that_cannot_be_finished_leaves_the_old_one(two_runs, capsys, monkeypatch):
    def full(self) -> dict:
        raise OSError(28, "No space left on device")

    Path("records").write_text("of last week")
    Path("records.manifest.json").write_text("of last week")
    monkeypatch.setattr(Certificate, "to_dict", full)
    assert main(["export", "run", "--out", "records"]) == 2
    assert capsys.readouterr().err == (
        "certify: cannot write records (No space left on device); choose another --out\n"
    )
    assert Path("records").read_text() == Path("records.manifest.json").read_text() == "of last week"
    assert not list(Path().glob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "jsnl"], "did you mean 'jsonl'?"),
        (["--attack-logs"], "run holds no imported attack log"),
        (["--out", "no/records"], "there is no folder no"),
        (["--out", "run"], "is no plain file"),
        (["--out", "taken.jsonl"], "the manifest beside --out, taken.manifest.json is no plain file; choose another"),
        (["--out", "linked.jsonl"], "the manifest beside --out, linked.manifest.json is no plain file"),
        (["--key", "key.pem"], "name its file: --bundle FILE"),
    ],
)
def test_what_cannot_be_is_one_line(two_runs, capsys, arguments, words):
    Path("taken.manifest.json").mkdir()
    Path("linked.manifest.json").symlink_to("run/manifest.json")
    assert main(["export", "run", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_help_speaks_of_bundles_and_exit_codes(capsys):
    assert main(["export", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "in one signed bundle" in text
    assert "incomplete run (exit code 3)" in text
    assert "FILE.manifest.json, the manifest of the run" in text
