"""A damaged run: what can be read and follows from its evidence is saved, and the rest is made again."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest

import certify
from certify.cli import main
from certify.errors import BadInput, StoreError
from certify.store.run_folder import RunFolder
from certify.study.evaluate import evaluate
from certify.study.salvage import salvage
from tests.conftest import linear

X = np.random.default_rng(0).uniform(0, 1, (60, 2)).astype(np.float32)
Y = X.argmax(axis=1)


@pytest.fixture
def made(tmp_path):
    def run(name):
        clf = certify.Classifier(linear([[1.0, 0.0], [0.0, 1.0]]), 2)
        settings = {"sigma": 0.25, "n": 300, "attack": "pgd", "seed": 0}
        return evaluate(clf, (X, Y), threat=certify.ThreatModel("l2", (0.0, 0.1)), out=tmp_path / name, **settings)

    run("run")
    return run


def records(folder) -> list[str]:
    with RunFolder.open(folder) as run:
        found = [*run.records.certificates(), *run.records.findings()]
    return [json.dumps(one.to_dict() | {"seconds": 0}) for one in found]


def test_a_damaged_page_costs_its_records_and_the_run_makes_them_again(made, tmp_path, capsys):
    whole = records(tmp_path / "run")
    file = tmp_path / "run" / "run.sqlite"
    content = bytearray(file.read_bytes())
    page = 4096 * (len(content) // 4096 // 2)
    content[page : page + 4096] = bytes(4096)
    file.write_bytes(content)
    assert main(["check", str(tmp_path / "run"), "--quiet"]) != 0
    capsys.readouterr()
    assert main(["salvage", str(tmp_path / "run"), "--out", str(tmp_path / "saved"), "--quiet"]) == 0
    assert "records kept" in capsys.readouterr().out
    saved = records(tmp_path / "saved")
    assert 0 < len(saved) < len(whole)
    assert set(saved) <= set(whole)
    made("saved")
    assert records(tmp_path / "saved") == whole


def test_records_that_contradict_themselves_are_dropped(made, tmp_path):
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        [(text,)] = db.execute("SELECT record FROM certificates WHERE position=3").fetchall()
        changed = json.loads(text)
        look = changed["evidence"]["looks"][-1]
        look["counts"] = {label: votes - 5 for label, votes in look["counts"].items()}
        db.execute("UPDATE certificates SET record=? WHERE position=3", (json.dumps(changed),))
        db.execute("UPDATE certificates SET settings='other' WHERE position=4")
    found = salvage(tmp_path / "run", tmp_path / "saved")
    assert (found.damage, found.kept, found.dropped) == ("", 118, 2)


def test_what_cannot_be_salvaged_is_one_line(made, tmp_path):
    with pytest.raises(BadInput, match="another folder"):
        salvage(tmp_path / "run", tmp_path / "run")
    with pytest.raises(StoreError, match="is not a run folder"):
        salvage(tmp_path, tmp_path / "saved")
    (tmp_path / "run" / "run.sqlite").write_bytes(b"no database")
    with pytest.raises(StoreError):
        salvage(tmp_path / "run", tmp_path / "saved")
