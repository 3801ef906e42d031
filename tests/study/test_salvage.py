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
    for command in (
        ["status"],
        ["summary"],
        ["check", "--quiet"],
        ["export"],
        ["merge", "--out", str(tmp_path / "all")],
    ):
        assert main([*command, str(tmp_path / "run")]) == 2
        assert "certify salvage RUN --out NEW" in capsys.readouterr().err
    with pytest.raises(StoreError, match="certify salvage RUN --out NEW"):
        made("run")
    assert main(["salvage", str(tmp_path / "run"), "--out", str(tmp_path / "saved"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "records kept" in said
    assert "certify salvage" not in said
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


def edited(folder, position, change, copied_to=None) -> None:
    """Change the certificate at a position, or insert it once more at another."""
    with sqlite3.connect(folder / "run.sqlite") as db:
        query = "SELECT position, method, settings, verdict, record FROM certificates WHERE position=?"
        [(_, *key, text)] = db.execute(query, (position,)).fetchall()
        record = json.loads(text)
        change(record)
        row = (position if copied_to is None else copied_to, *key, json.dumps(record))
        db.execute("INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?, ?)", row)
    db.close()


def test_records_that_do_not_belong_to_the_manifest_are_dropped(made, tmp_path):
    run = tmp_path / "run"
    edited(run, 1, lambda one: one.update(model_digest="0" * 64))
    edited(run, 2, lambda one: one.update(label=1 - one["label"]))  # its finding says otherwise: neither is kept
    edited(run, 3, lambda one: one["threat"].update(radii=[0.0, 9.0]))
    edited(run, 4, lambda one: one["evidence"].update(seed=99))
    edited(run, 5, lambda one: one.update(alpha=0.5))
    edited(run, 6, lambda one: one.update(index=77), copied_to=77)
    found = salvage(run, tmp_path / "saved")
    assert (found.kept, found.dropped) == (120 - 6, 7)
    with RunFolder.open(tmp_path / "saved") as folder:
        assert {one.index for one in folder.records.certificates()} == {*range(60)} - {1, 2, 3, 4, 5}
        assert {one.index for one in folder.records.findings()} == {*range(60)} - {2}


def test_a_changed_label_that_nothing_else_names_is_dropped_with_all_or_refused_with_the_data(tmp_path, capsys):
    clf = certify.Classifier(linear([[1.0, 0.0], [0.0, 1.0]]), 2)

    def run(name):
        return evaluate(clf, (X, Y), threat=certify.ThreatModel("linf", (0.0,)), certifier="ibp", out=tmp_path / name)

    run("run")
    edited(tmp_path / "run", 2, lambda one: one.update(label=1 - one["label"]))
    found = salvage(tmp_path / "run", tmp_path / "saved")  # the data digest refutes them together
    assert found.kept == 0
    assert "--data SPEC, tell which" in str(found)
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    assert salvage(tmp_path / "run", tmp_path / "known", data=f"npz:{tmp_path / 'data.npz'}").kept == 59
    assert main(["merge", str(tmp_path / "run"), "--out", str(tmp_path / "merged")]) == 2
    assert "is not what its manifest.json says" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        db.execute("DELETE FROM certificates WHERE position=7")
    db.close()
    assert salvage(tmp_path / "run", tmp_path / "part").kept == 59
    for name in ("run", "part"):
        with pytest.raises(StoreError, match=r"a record of another input, or label, than the data have there, at 2:"):
            run(name)


def test_a_file_that_only_says_that_it_is_large_ends(made, tmp_path):
    file = tmp_path / "run" / "run.sqlite"
    pages, change = 2**28 - 1, file.read_bytes()[24:28]
    with file.open("r+b") as db:
        db.seek(28)
        db.write(pages.to_bytes(4, "big"))
        db.seek(92)
        db.write(change)  # the number of pages in the header is the one to believe
        db.truncate(4096 * pages)
    whole = records(tmp_path / "run")
    assert salvage(tmp_path / "run", tmp_path / "saved").kept == len(whole)


def test_what_cannot_be_salvaged_is_one_line(made, tmp_path):
    with pytest.raises(BadInput, match="another folder"):
        salvage(tmp_path / "run", tmp_path / "run")
    with pytest.raises(StoreError, match="is not a run folder"):
        salvage(tmp_path, tmp_path / "saved")
    (tmp_path / "run" / "run.sqlite").write_bytes(b"no database")
    with pytest.raises(StoreError):
        salvage(tmp_path / "run", tmp_path / "saved")
