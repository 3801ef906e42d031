"""``certify check`` of a record of prediction sets: from the record alone, and from model and data made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from certify.checker.prediction_sets import UNCHECKED, made_again, read_set_record, record_alone
from certify.checker.result import CheckedClaim, CheckResult, Standing, left_open
from certify.core.prediction_sets import PredictionSets
from certify.core.threats.base import threat_from
from certify.errors import CertifyError, StoreError, one_line
from certify.progress.observer import Observer

__all__ = ["check_sets"]


def check_sets(path: Path | str, *, model: str | None, data: str | None, progress: Observer) -> CheckResult:
    """Derive threshold and shares from the record; and where model and data can be loaded, make every set again.

    Raises:
        StoreError: for a file that is no such record.
        CertifyError: for a SPEC that was given and cannot be loaded.
    """
    record = read_set_record(path)
    with _said_of(path):
        claims, statement = record_alone(record), ""
        made = _again(record, model, data, progress)
        if isinstance(made, PredictionSets):
            claims += made_again(record, made)
            statement = "" if any(one.standing is Standing.REFUTED for one in claims) else " ".join(made.statement)
        else:
            claims.append(made)
        head = {"threat": str(threat_from(record["threat"])), "scores": f"{record['score']}, {record['method']}"}
    return CheckResult(tuple(claims), head, statement, UNCHECKED)


def _again(
    record: Mapping[str, Any], model: str | None, data: str | None, progress: Observer
) -> PredictionSets | CheckedClaim:
    """The sets, or why they cannot be made again."""
    if "run" not in record:
        return left_open("record", "sets", "it was made in Python, and does not say how to load model and data")
    from certify.sets.make import with_sets
    from certify.study.conformal import RunSets, sets_of

    run = record["run"]
    asked = RunSets(
        settings={name: value for name, value in run.items() if name != "specs"},
        context={"specs": run["specs"]},
        calibration=record["calibration_spec"],
        coverage=record["coverage"],
        score=record["score"],
        samples=record.get("samples"),
        radii=tuple(record["threat"]["radii"]),
        model=model,
        data=data,
        believed=False,
    )
    try:
        return with_sets(replace(sets_of(asked), attack=False), progress)
    except CertifyError as problem:
        if model is not None or data is not None:
            raise
        return left_open("record", "sets", str(problem))


@contextmanager
def _said_of(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as problem:
        raise StoreError(f"{path} lacks what a record of prediction sets needs ({one_line(problem)})") from problem
