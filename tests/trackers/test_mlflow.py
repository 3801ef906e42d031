"""Runs logged to a real MLflow store in a folder, and read back with MLflow's own client."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import certify
from certify.core.run import Run
from certify.errors import BadInput, MissingExtra
from certify.study.read import read_runs
from certify.trackers.base import TRACKERS, metrics_of, parameters_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    folder, threat = tmp_path_factory.mktemp("runs"), certify.ThreatModel("l2", (0.0, 0.25, 0.5))
    x, y = [[0.8, 0.2], [0.55, 0.45], [0.5, 0.5], [0.1, 0.9]], [0, 0, 1, 1]
    clf = certify.Classifier(torch.nn.Identity().eval(), num_classes=2)
    for name, sigma in (("quarter", 0.25), ("half", 0.5)):
        asked = {"threat": threat, "certifier": "smoothing", "attack": "pgd", "sigma": sigma, "n": 1000}
        certify.evaluate(clf, (x, y), out=folder / name, **asked)
    return read_runs([folder / "quarter", folder / "half"])


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """MLflow reports its use to its makers otherwise, from the moment of its import."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def client_of(folder: Path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=folder.as_uri())


def logged(folder: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = client_of(folder)
    experiment = client.get_experiment_by_name("certify").experiment_id
    return client, {run.info.run_name: run for run in client.search_runs([experiment])}


def test_settings_figures_and_statement_come_back(tmp_path, runs, monkeypatch):
    store = tmp_path / "mlruns"
    said = TRACKERS["mlflow"](runs, str(store), [])
    _, found = logged(store, monkeypatch)
    assert set(found) == {"quarter", "half"}
    assert all(one.info.run_id in said for one in found.values())
    assert store.as_uri() in said
    for run in runs:
        read, summary = found[run.name], run.summary
        assert read.info.status == "FINISHED"
        assert read.data.params == parameters_of(run)
        assert read.data.metrics == metrics_of(run)
        assert read.data.params["model.digest"] == run.settings["model"]["digest"]
        assert read.data.params["threat.norm"] == "l2"
        assert read.data.tags["statement"] == summary.statement
        assert read.data.tags["threat"] == str(summary.threat)
        assert read.data.tags["complete"] == "true"
        for row in summary.rows:
            assert read.data.metrics[f"certified_at_{row.radius!r}"] == row.certified
            assert read.data.metrics[f"certified_lower_at_{row.radius!r}"] == row.certified_lower
            assert read.data.metrics[f"attacked_at_{row.radius!r}"] == row.empirical
        assert read.data.metrics["average_certified_radius"] == summary.acr
        assert read.data.metrics["contradictions"] == 0
    assert found["quarter"].data.params["certifiers.0.sigma"] == "0.25"
    assert found["half"].data.params["certifiers.0.sigma"] == "0.5"


def test_manifest_summary_and_files_are_artifacts(tmp_path, runs, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("<p>page</p>")
    TRACKERS["mlflow"](runs, str(tmp_path / "mlruns"), [page])
    client, found = logged(tmp_path / "mlruns", monkeypatch)
    for run in runs:
        run_id = found[run.name].info.run_id
        assert {one.path for one in client.list_artifacts(run_id)} == {"manifest.json", "summary.json", "report.html"}
        folder = tmp_path / f"fetched-{run.name}"
        folder.mkdir()
        client.download_artifacts(run_id, "", str(folder))
        assert (folder / "manifest.json").read_bytes() == (run.path / "manifest.json").read_bytes()
        assert json.loads((folder / "summary.json").read_text()) == json.loads(run.summary.render("json"))
        assert (folder / "report.html").read_text() == "<p>page</p>"


def test_a_second_time_adds_runs_to_the_same_experiment(tmp_path, runs, monkeypatch):
    for _ in range(2):
        TRACKERS["mlflow"](runs[:1], str(tmp_path / "mlruns"), [])
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = client_of(tmp_path / "mlruns")
    assert [one.name for one in client.search_experiments()].count("certify") == 1
    assert len(client.search_runs([client.get_experiment_by_name("certify").experiment_id])) == 2


def test_nothing_global_is_left_behind(tmp_path, runs, monkeypatch):
    import mlflow

    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    before, uri = dict(os.environ), mlflow.get_tracking_uri()
    TRACKERS["mlflow"](runs, str(tmp_path / "mlruns"), [])
    assert dict(os.environ) == before
    assert mlflow.get_tracking_uri() == uri
    assert mlflow.active_run() is None


def test_what_somebody_decided_about_plain_folders_stands(tmp_path, runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(BadInput, match="maintenance mode"):
        TRACKERS["mlflow"](runs, str(tmp_path / "mlruns"), [])
    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "false"


def test_every_metric_is_its_own_figure(runs):
    rows = tuple(
        replace(row, certified=0.5, certified_lower=0.25, population_lower=0.125, empirical=0.75, abstain=3, unknown=4)
        for row in runs[0].summary.rows
    )
    metrics = metrics_of(replace(runs[0], summary=replace(runs[0].summary, rows=rows, clean=0.875, acr=0.3)))
    assert {name: value for name, value in metrics.items() if name.endswith("_at_0.25")} == {
        "certified_at_0.25": 0.5,
        "certified_lower_at_0.25": 0.25,
        "population_lower_at_0.25": 0.125,
        "attacked_at_0.25": 0.75,
        "abstain_at_0.25": 3.0,
        "unknown_at_0.25": 4.0,
    }
    assert (metrics["inputs"], metrics["clean"], metrics["average_certified_radius"]) == (4.0, 0.875, 0.3)


def test_numbers_that_cannot_be_stated_and_long_settings(tmp_path, runs, monkeypatch):
    rows = tuple(replace(row, empirical=None, population_lower=None) for row in runs[0].summary.rows)
    settings = {**runs[0].settings, "threat": {"norm": "l2", "scale": list(range(1000))}}
    run = replace(runs[0], summary=replace(runs[0].summary, rows=rows), settings=settings, path=None)
    TRACKERS["mlflow"]([run], str(tmp_path / "mlruns"), [])
    client, found = logged(tmp_path / "mlruns", monkeypatch)
    read = found["quarter"]
    assert not [name for name in read.data.metrics if name.startswith(("attacked", "population"))]
    assert len(read.data.params["threat.scale"]) == 500
    assert {one.path for one in client.list_artifacts(read.info.run_id)} == {"summary.json"}


def test_places_that_cannot_be_logged_to_are_one_line(tmp_path, runs):
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), "gopher://nowhere"):
        with pytest.raises(BadInput, match="cannot log to") as problem:
            TRACKERS["mlflow"](runs, place, [])
        assert "\n" not in str(problem.value)
    with pytest.raises(BadInput, match="there is no file"):
        TRACKERS["mlflow"](runs, str(tmp_path / "mlruns"), [tmp_path / "missing.html"])
    assert not (tmp_path / "mlruns").exists()
    with pytest.raises(BadInput, match="did you mean 'mlflow'"):
        TRACKERS["mlfow"]


def test_a_run_that_cannot_be_logged_whole_is_marked_as_failed(tmp_path, runs, monkeypatch):
    broken = replace(runs[0], settings={**runs[0].settings, "a name?": 1})
    with pytest.raises(BadInput, match="Invalid value"):
        TRACKERS["mlflow"]([broken], str(tmp_path / "mlruns"), [])
    _, found = logged(tmp_path / "mlruns", monkeypatch)
    assert found["quarter"].info.status == "FAILED"


def test_without_mlflow_the_extra_is_named(tmp_path, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra, match=r"certify\[mlflow\]"):
        TRACKERS["mlflow"](runs, str(tmp_path / "mlruns"), [])
