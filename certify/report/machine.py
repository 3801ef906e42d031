"""Formats ``json`` and ``csv``: a summary for programs, with the fields that callers rely on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from certify.core.legible import legible
from certify.core.run import Run
from certify.core.summary import FORMATS, Summary

__all__ = ["csv_lines", "csv_of_runs", "render_csv", "render_json"]


def csv_lines(lines: Iterable[Sequence[Any]]) -> str:
    """Lines of values as CSV text, the header first; None is an empty field, numbers keep every digit."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return legible(text.getvalue().rstrip("\n"))


@FORMATS.register("json")
def render_json(summary: Summary) -> str:
    """The summary as one JSON object; accuracies are fractions, abstain and unknown are counts."""
    return json.dumps(summary.to_dict(), indent=2, allow_nan=False)


@FORMATS.register("csv")
def render_csv(summary: Summary) -> str:
    """The rows as CSV with a header line, one line a radius; a column that cannot be stated is empty."""
    return _csv(_rows(summary))


def csv_of_runs(runs: Sequence[Run]) -> str:
    """The rows of all runs, each with its run, norm and units: a radius says nothing without them."""
    return _csv(
        {"run": run.name, "norm": run.summary.threat.measure, "units": run.summary.threat.units, **row}
        for run in runs
        for row in _rows(run.summary)
    )


def _rows(summary: Summary) -> Iterator[dict[str, Any]]:
    fields = ("radius", "certified", "certified_lower", "empirical", "abstain", "unknown", "population_lower")
    for row in summary.to_dict()["rows"]:
        by_method = {f"certified_{method}": share for method, share in row["by_method"].items()}
        said = {"threat": str(summary.threat), "property": str(summary.property)}
        yield {field: row[field] for field in fields} | by_method | said


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows under every name that one of them has, in the order of their first appearance."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_lines([names, *([row.get(name) for name in names] for row in rows)])
