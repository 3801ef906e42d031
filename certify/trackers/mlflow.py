"""Tracker ``mlflow``: one MLflow run for each certify run, in the experiment ``certify``.

Its server is not needed: a plain folder is a store of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from certify.core.run import Run
from certify.errors import BadInput, needs, one_line
from certify.trackers.base import TRACKERS, metrics_of, parameters_of, tags_of

__all__ = ["log"]

_EXPERIMENT: Final = "certify"
_LONGEST_PARAMETER: Final = 500
"""Characters: the least that a store of MLflow keeps. Longer parameters are cut; the manifest holds them whole."""

_ENVIRONMENT: Final = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 refuses plain folders otherwise
    "MLFLOW_DISABLE_TELEMETRY": "true",  # and reports their use to its makers
}


@TRACKERS.register("mlflow")
def log(runs: Sequence[Run], to: str, files: Sequence[Path] = ()) -> str:
    """Log settings, figures and statement of each run, its manifest and ``summary.json``, and further files.

    Nothing global is set: neither MLflow's tracking URI nor an active run, so it can be used beside a script's own.

    Args:
        runs: what ``study/read.py: read_runs`` returns.
        to: a folder, or a URI that MLflow knows, such as that of a server.
        files: artifacts of every run, for example the HTML page.

    Returns:
        The tracking URI, the experiment and the ids of the runs.

    Raises:
        BadInput: for a place that MLflow cannot log to, or a file that is not there.
        MissingExtra: without mlflow.
    """
    for file in files:
        if not file.is_file():
            raise BadInput(f"there is no file {file} to log; write it first")
    uri = to if "://" in to else Path(to).resolve().as_uri()
    with _environment():
        with needs("mlflow", "mlflow", "logging to MLflow"):
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        try:
            client = MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(_EXPERIMENT)
            experiment = client.create_experiment(_EXPERIMENT) if known is None else known.experiment_id
            ids = [_log_one(client, experiment, run, files) for run in runs]
        except (MlflowException, ImportError, OSError) as problem:  # some stores need more libraries
            raise BadInput(
                f"cannot log to {to} ({one_line(problem)}); name a folder, or another tracking URI"
            ) from problem
    return f"{uri} (experiment {_EXPERIMENT}, run{'s' * (len(ids) > 1)} {', '.join(ids)})"


def _log_one(client: Any, experiment: str, run: Run, files: Sequence[Path]) -> str:
    """Log one run, marked as failed if that did not end."""
    started = client.create_run(experiment, run_name=run.name, tags=tags_of(run)).info.run_id
    status = "FAILED"
    try:
        for name, value in parameters_of(run).items():
            client.log_param(
                started, name, value if len(value) <= _LONGEST_PARAMETER else f"{value[: _LONGEST_PARAMETER - 4]} ..."
            )
        for name, number in metrics_of(run).items():
            client.log_metric(started, name, number)
        client.log_text(started, run.summary.render("json") + "\n", "summary.json")
        for file in [*([] if run.path is None else [run.path / "manifest.json"]), *files]:
            client.log_artifact(started, str(file))
        status = "FINISHED"
    finally:
        client.set_terminated(started, status)
    return str(started)


@contextmanager
def _environment() -> Iterator[None]:
    """What MLflow reads from the environment, unless somebody decided otherwise; gone again afterwards."""
    ours = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
