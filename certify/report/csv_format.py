"""Format ``csv``: the rows of a summary, one line a radius."""

from __future__ import annotations

import csv
import io

from certify.core.legible import legible
from certify.core.summary import FORMATS, Summary

__all__ = ["render"]


@FORMATS.register("csv")
def render(summary: Summary) -> str:
    """The rows as CSV with a header line; a column that cannot be stated is empty."""
    text = io.StringIO()
    fields = ["radius", "certified", "certified_lower", "empirical", "abstain", "unknown", "population_lower"]
    extra = [f"certified_{method}" for method in summary.rows[0].by_method]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields + extra)
    for row in summary.to_dict()["rows"]:
        writer.writerow([*(row[field] for field in fields), *row["by_method"].values()])
    return legible(text.getvalue().rstrip("\n"))
