"""Runs that were forged as a whole: a box beside the data, databases that no run makes, fields that nobody derived."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forgeries import DATABASES, forged_threat, make_runs, repeated_pages

from certify.errors import StoreError
from certify.store.run_folder import Manifest, RunFolder
from certify.study.checking import check_run
from certify.study.read import summarize_run

FORGED = ("short", "lipschitz", "complete", "votes")


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


def test_a_small_file_with_many_rows_is_damaged(run):
    folder = run("votes")
    repeated_pages(folder)
    with pytest.raises(StoreError, match="holds more than its size|does not end"):
        summarize_run(folder)
    assert "database" in {one.claim for one in check_run(folder).refuted}
