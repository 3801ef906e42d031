"""Formats ``json`` and ``csv``: a summary for programs, with the fields that callers rely on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from certify.core.legible import legible
from certify.core.summary import FORMATS, Summary

__all__ = ["csv_lines", "render_csv", "render_json"]


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
    fields = ["radius", "certified", "certified_lower", "empirical", "abstain", "unknown", "population_lower"]
    lines = [[*fields, *(f"certified_{method}" for method in summary.rows[0].by_method)]]
    for row in summary.to_dict()["rows"]:
        lines.append([*(row[field] for field in fields), *row["by_method"].values()])
    return csv_lines(lines)
