"""The columns of a summary as people read them; every table takes them from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from certify.core.rounding import brief, percent_down, percent_up, round_down, round_up
from certify.core.summary import Row, Summary

__all__ = [
    "ROUNDING",
    "WIDTH",
    "aligned",
    "at_least",
    "cells",
    "closing",
    "headings",
]

WIDTH: Final = 110
"""Characters in a line of text."""


ROUNDING: Final = "Certified shares are rounded down, shares under attack and clean accuracy up."
"""The rule under every table: no rounding makes a model look safer."""


def at_least(confidence: float) -> str:
    """Heading of the column with what is truly robust; the confidence is rounded down.

    >>> at_least(0.95), at_least(1 - 0.05 / 3)
    ('>= (95 %)', '>= (98.3 %)')
    """
    return f">= ({percent_down(confidence).removesuffix('.0')} %)"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text, right-aligned in columns; a rule below the first."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    first, *rest = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [first, "  ".join("-" * width for width in widths), *rest]


def headings(summary: Summary) -> list[str]:
    """Column headings."""
    attacked = any(row.empirical is not None for row in summary.rows)
    return [
        "radius",
        "certified %",
        *(f"by {method}" for method in summary.rows[0].by_method),
        *([] if summary.guarantee.alpha is None else [at_least(summary.confidence)]),
        *(["attacked %", "gap"] if attacked else []),
        "clean %",
        "abstain",
        "unknown",
    ]


def cells(summary: Summary, row: Row) -> list[str]:
    """The cells of one row, under :func:`headings`."""
    values = {
        "radius": brief(row.radius),
        "certified %": percent_down(row.certified),
        at_least(summary.confidence): percent_down(row.certified_lower),
        "attacked %": "" if row.empirical is None else percent_up(row.empirical),
        "gap": "" if row.empirical is None else f"{100 * (row.empirical - row.certified):.1f}",
        "clean %": percent_up(summary.clean),
        "abstain": str(row.abstain),
        "unknown": str(row.unknown),
        **{f"by {method}": percent_down(value) for method, value in row.by_method.items()},
    }
    return [values[heading] for heading in headings(summary)]


def closing(summary: Summary) -> list[str]:
    """The lines under every table: contradictions first, then what is guaranteed, last what is only derived."""
    lines = [f"CONTRADICTION {one}" for one in summary.contradictions if not one.reported]
    lines += [f"{'CONTRADICTION ' if one.impossible else ''}{one}" for one in summary.reported]
    lines.append(f"contradictions {len(summary.contradictions)}   average certified radius {round_down(summary.acr)}")
    lines.append(ROUNDING)
    if gap := _gap(summary):
        lines.append(gap)
    if not summary.complete:
        attacked = "" if summary.attacked is None else f", {summary.attacked} attacked"
        of = summary.n if summary.expected is None else summary.expected
        lines.append(f"INCOMPLETE: {summary.n} of {of} inputs certified{attacked}; the same run command resumes")
    return [*lines, summary.statement, *summary.further, *map(str, summary.converted)]


def _gap(summary: Summary) -> str:
    """How far examples are from proofs; empty where no input has both."""
    gaps = summary.sandwich.gaps()
    if gaps.median is None or gaps.largest is None:
        return ""
    return (
        f"gap between proof and example: median {round_up(gaps.median)}, largest {round_up(gaps.largest)} over "
        f"{gaps.both:,} inputs with both; {gaps.open:,} others predicted correctly"
    )
