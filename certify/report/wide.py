"""The table of papers: a line a run, a column a radius, certified accuracy in the cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from certify.core.legible import legible
from certify.core.rounding import brief, percent_down, percent_up, round_down
from certify.core.run import Run
from certify.registry import Registry
from certify.report.machine import csv_lines
from certify.report.side_by_side import UNDECLARED, ComparableRuns, side_by_side
from certify.report.summary_table import ROUNDING
from certify.report.titled import Titled, register_titled

__all__ = ["WIDE_FORMATS", "wide"]

WIDE_FORMATS: Registry[Callable[[ComparableRuns], str]] = Registry("format of a wide table")
"""A wide table of runs that can be compared, as text."""


def wide(runs: Sequence[Run], format: str = "table") -> str:
    """Certified accuracy of several runs, a line each; runs that cannot be compared have tables of their own.

    Args:
        runs: at least one.
        format: ``table``, ``markdown``, ``html``, ``latex``, ``csv`` or ``json``.

    Raises:
        BadInput: for no runs, or an unknown format.
    """
    render = WIDE_FORMATS[format]
    tables = [render(one) for one in side_by_side(runs).tables]
    return f"[{', '.join(tables)}]" if format == "json" and len(tables) > 1 else "\n\n".join(tables)


@WIDE_FORMATS.register("json")
def _json(together: ComparableRuns) -> str:
    """Exact fractions by exact radii, null where a run did not declare one."""
    runs = {
        run.name: {
            "norm": run.summary.threat.measure,
            "units": run.summary.threat.units,
            "property": str(run.summary.property),
            "clean": run.summary.clean,
            "acr": run.summary.acr,
            "certified": [_certified(run).get(radius) for radius in together.radii],
        }
        for run in together.runs
    }
    return legible(json.dumps({"radii": list(together.radii), "runs": runs}, indent=2, allow_nan=False))


@WIDE_FORMATS.register("csv")
def _csv(together: ComparableRuns) -> str:
    """Exact fractions under exact radii."""
    lines: list[list[Any]] = [["run", "norm", "units", "property", "clean", "acr", *together.radii]]
    for run in together.runs:
        summary, certified = run.summary, _certified(run)
        shares = [certified.get(radius) for radius in together.radii]
        about = [run.name, summary.threat.measure, summary.threat.units, str(summary.property)]
        lines.append([*about, summary.clean, summary.acr, *shares])
    return csv_lines(lines)


def _certified(run: Run) -> dict[float, float]:
    return {row.radius: row.certified for row in run.summary.rows}


def _titled(together: ComparableRuns) -> Titled:
    lines = [["run", *(f"r={brief(radius)}" for radius in together.radii), "clean %", "ACR"]]
    for run in together.runs:
        certified = {row.radius: percent_down(row.certified) for row in run.summary.rows}
        shares = [certified.get(radius, UNDECLARED) for radius in together.radii]
        lines.append([run.name, *shares, percent_up(run.summary.clean), round_down(run.summary.acr)])
    return Titled(
        f"Certified accuracy in % at each {together.about}.",
        lines,
        f"{ROUNDING} ACR: average certified radius, rounded down.",
        "wide",
        [True, *[False] * (len(together.radii) + 2)],
    )


register_titled(WIDE_FORMATS, _titled)
