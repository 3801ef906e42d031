"""Tables of several runs below each other, under one line of headings: what papers and comments show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from certify.core.summary import Summary
from certify.report.columns import cells, headings

__all__ = ["stacked"]


def stacked(summaries: Sequence[Summary]) -> tuple[list[str], list[list[list[str]]]]:
    """The headings that any of the tables has, and for each table its lines of cells under them; "" where it has none.

    >>> _merged(["radius", "by ibp", "clean %"], ["radius", ">= (95 %)", "clean %", "unknown"])
    ['radius', '>= (95 %)', 'by ibp', 'clean %', 'unknown']
    """
    joint = reduce(_merged, map(headings, summaries))
    return joint, [[_under(joint, one, cells(one, row)) for row in one.rows] for one in summaries]


def _under(joint: Sequence[str], summary: Summary, line: Sequence[str]) -> list[str]:
    by_heading = dict(zip(headings(summary), line, strict=True))
    return [by_heading.get(heading, "") for heading in joint]


def _merged(these: Sequence[str], those: Sequence[str]) -> list[str]:
    """Both lists as one without repeats; what only one has follows what it followed there."""
    merged, after = list(these), 0
    for heading in those:
        if heading not in merged:
            merged.insert(after, heading)
        after = merged.index(heading) + 1
    return merged
