"""Runs that were forged as a whole: a box beside the data, databases that no run makes, fields that nobody derived."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from adversary.databases import DATABASES, repeated_pages
from adversary.forgeries import edit, everywhere, forged_threat, make_runs, put

from certify.errors import StoreError
from certify.gate.conditions.base import CONDITIONS
from certify.gate.judge import judge_run
from certify.gate.outcome import Result
from certify.gate.policy import Policy, PolicyThreat
from certify.store.run_folder import Manifest, RunFolder
from certify.study.checking import check_run
from certify.study.held import check_records
from certify.study.read import summarize_run

FORGED = ("short", "lipschitz", "complete", "votes", "declared")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """One run of each kind."""
    return make_runs(tmp_path_factory.mktemp("forged"), FORGED)


@pytest.fixture
def run(made, tmp_path) -> Callable[[str], Path]:
    """A copy of a run, to forge."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


BOXES = [[-3.0, -2.0], [0.0, 0.05], [0.25, 2.0], None]


@pytest.mark.parametrize(
    ("name", "box"),
    [*(("short", box) for box in BOXES), ("lipschitz", [0.0, 9.0]), ("complete", [-3.0, -2.0])],
)
def test_a_run_in_a_box_that_is_not_the_models(made, run, name, box):
    """Everything is derived again for that box: only the model and the data say that it is another one."""
    folder = run(name)
    forged_threat(folder, f"npz:{made / 'data.npz'}", input_box=box)
    found = check_run(folder)
    assert {"input box"} <= {one.claim for one in found.refuted if one.subject == "manifest"}
    assert {"manifest", "input 0, " + ("crown" if name == "short" else name)} <= {one.subject for one in found.refuted}


@pytest.mark.parametrize("forge", DATABASES)
def test_a_database_that_no_run_makes_is_not_opened(run, forge):
    folder = run("votes")
    DATABASES[forge](folder)
    with pytest.raises(StoreError, match="is no store of a run") as problem:
        summarize_run(folder)
    assert "\n" not in str(problem.value)
    with pytest.raises(StoreError, match="is no store of a run"):
        check_run(folder)
    fields = json.loads((folder / "manifest.json").read_text())
    with pytest.raises(StoreError, match="is no store of a run"):
        RunFolder.create(folder, Manifest(fields["settings"], fields["context"]))


def test_a_pipe_beside_the_database_is_not_waited_for(run):
    folder = run("votes")
    os.mkfifo(folder / "run.sqlite-journal")
    with pytest.raises(StoreError, match="run.sqlite-journal is no file"):
        summarize_run(folder)


def test_a_number_where_a_record_belongs_is_damaged(run):
    """SQLite keeps whatever was written before the column said that it holds text."""
    folder = run("votes")
    with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
        [(schema,)] = db.execute("SELECT sql FROM sqlite_master WHERE name='certificates'").fetchall()
        db.execute("PRAGMA writable_schema=1")
        db.execute("UPDATE sqlite_master SET sql=? WHERE sql=?", (schema.replace("record TEXT", "record BLOB"), schema))
    with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE certificates SET record=5")
        db.execute("PRAGMA writable_schema=1")
        db.execute("UPDATE sqlite_master SET sql=? WHERE name='certificates'", (schema,))
    with pytest.raises(StoreError, match="holds a damaged record in certificates at 0"):
        summarize_run(folder)
    assert "database" in {one.claim for one in check_run(folder).refuted}


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("certificates", ("evidence", "rival_share"), ""),
        ("findings", ("input_digest",), 2**64),
        ("findings", ("p_label_upper",), "x"),
        ("findings", ("radii",), [{}]),
    ],
)
def test_nothing_is_derived_from_a_field_of_another_type(run, table, field, value):
    folder = run("declared")
    edit(folder, table, 0, lambda record: put(record, field, value))
    assert ("input 0", "record") in {(one.subject.split(",")[0], one.claim) for one in check_run(folder).refuted}


@pytest.mark.parametrize("hidden", [1, "2", None, 1e9])
def test_a_manifest_that_hides_a_class_is_refuted(run, hidden):
    folder = run("votes")
    fields = json.loads((folder / "manifest.json").read_text())
    fields["context"]["num_classes"] = hidden
    (folder / "manifest.json").write_text(json.dumps(fields))
    outcome = check_run(folder)
    found = outcome.open if hidden is None else outcome.refuted
    assert "classes" in {one.claim for one in found if one.subject == "manifest"}


def test_a_gate_does_not_pass_radii_by_noise_without_a_theorem(run):
    folder, noise, radius = run("votes"), "mine", 0.9

    def change(record):
        record["evidence"]["noise"] = noise
        if record["radius"] is not None:
            record |= {"radius": radius, "radius_hex": radius.hex()}

    everywhere(folder, change, lambda settings: settings["certifiers"][0].update(noise=noise))
    assert not check_records(folder).refuted
    policy = Policy(PolicyThreat("l2", (0.0, 1.0)), (CONDITIONS["certified_accuracy"](radius=0.6, at_least=0.1),))
    [found, *_] = judge_run(policy, folder).outcomes
    assert found.result is Result.UNDECIDED
    assert "no theorem of 'mine' noise is known here; --no-check takes it on trust" in found.reason


def test_a_small_file_with_many_rows_is_damaged(run):
    folder = run("votes")
    repeated_pages(folder)
    with pytest.raises(StoreError, match="holds more than its size|does not end"):
        summarize_run(folder)
    assert "database" in {one.claim for one in check_run(folder).refuted}
