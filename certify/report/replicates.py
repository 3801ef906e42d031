"""The table over seeds or folds in the formats that a summary has."""

from __future__ import annotations

import json

from certify.core.legible import many
from certify.core.rounding import brief, percent_below, percent_down, percent_up
from certify.core.shown import VIEWS
from certify.report.machine import csv_lines
from certify.report.summary_table import ROUNDING, at_least
from certify.report.titled import Titled, register_titled
from certify.summary.replicates import Replicates
from certify.summary.words import percent

__all__ = ["csv_text", "json_text", "titled"]


@VIEWS.register("replicates.csv")
def csv_text(table: Replicates) -> str:
    """The rows, exact fractions, with a header line; a column that cannot be stated is empty."""
    models = {"of": table.about, "over": table.kind, "models": len(table.runs)}
    about = {**models, "norm": table.measure, "units": table.units}
    lines = [{**about, **row} for row in table.columns()]
    return csv_lines([list(lines[0]), *(list(line.values()) for line in lines)])


@VIEWS.register("replicates.json")
def json_text(table: Replicates) -> str:
    """One JSON object; fractions, not percents."""
    return json.dumps(table.to_dict(), indent=2, allow_nan=False)


def titled(table: Replicates) -> Titled:
    """A line a radius: the mean, the spread over models, the interval over inputs, and what each of them covers."""
    sure = percent(table.confidence, " %")
    inputs = any(row.inputs_lower is not None for row in table.rows)
    attacked = any(row.attacked is not None for row in table.rows)
    lines = [
        [
            "radius",
            "certified %",
            f"over {table.kind}s ({sure})",
            "least",
            "most",
            *[f"over inputs ({sure})"] * inputs,
            *[at_least(table.confidence)] * table.probabilistic,
            *["attacked %"] * attacked,
            "clean %",
        ]
    ]
    for row in table.rows:
        lines.append(
            [
                brief(row.radius),
                percent_down(row.certified.mean),
                _interval(row.certified.lower, row.certified.upper),
                percent_down(row.certified.least),
                percent_down(row.certified.most),
                *[_interval(row.inputs_lower, row.inputs_upper)] * inputs,
                *[percent_down(row.certified_lower)] * table.probabilistic,
                *["" if row.attacked is None else percent_up(row.attacked.mean)] * attacked,
                percent_up(table.clean.mean),
            ]
        )
    equal = any(row.certified.lower is None for row in table.rows)
    unknown = [f"'-': all {table.kind}s agree, which does not tell how far others would be."] * equal
    models = many(len(table.runs), table.kind)
    return Titled(
        f"Mean over {models} of {table.about}: at each {table.measure} radius, n={table.n:,}",
        lines,
        " ".join([ROUNDING, *table.statements, *unknown]),
        f"{table.kind}s",
        [False] * len(lines[0]),
    )


def _interval(lower: float | None, upper: float | None) -> str:
    """Both ends in percent, rounded outward."""
    return "-" if lower is None or upper is None else f"{percent_below(lower)} to {percent_up(upper)}"


register_titled(VIEWS, titled, prefix="replicates.")
