"""The tables of a summary as headings, cells and lines of text; every format takes them from here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

from certify.core.groups import GroupRow, Groups
from certify.core.rounding import percent_below, percent_down, percent_up, round_down, round_up
from certify.core.sandwich import Layer
from certify.core.summary import Row, Summary
from certify.report.blocks import Block
from certify.summary.words import percent

__all__ = [
    "ROUNDING",
    "at_least",
    "cells",
    "closing",
    "group_blocks",
    "headings",
    "layer_cells",
    "stacked",
    "worst_lines",
]

ROUNDING: Final = "Certified shares are rounded down, shares under attack and clean accuracy up."
"""The rule under every table: no rounding makes a model look safer."""


def at_least(confidence: float) -> str:
    """Heading of the column with what is truly robust; the confidence is rounded down.

    >>> at_least(0.95), at_least(1 - 0.05 / 3)
    ('>= (95 %)', '>= (98.3 %)')
    """
    return f">= ({percent(confidence, ' %')})"


def headings(summary: Summary) -> list[str]:
    """The column headings: columns that say nothing about this summary are left out."""
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
        "radius": summary.threat.number(row.radius),
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


def stacked(summaries: Sequence[Summary]) -> tuple[list[str], list[list[list[str]]]]:
    """The tables of several runs below each other, under one line of headings: what papers and comments show.

    Returns:
        The headings that any of the tables has, and for each table its lines of cells under them; "" where it has none.

    >>> _merged(["radius", "by ibp", "clean %"], ["radius", ">= (95 %)", "clean %", "unknown"])
    ['radius', '>= (95 %)', 'by ibp', 'clean %', 'unknown']
    """
    joint = reduce(_merged, map(headings, summaries))
    tables = []
    for one in summaries:
        lines = [dict(zip(headings(one), cells(one, row), strict=True)) for row in one.rows]
        tables.append([[line.get(heading, "") for heading in joint] for line in lines])
    return joint, tables


def group_blocks(groups: Groups) -> list[Block]:
    """The groups, their certified radii, then their accuracies at each radius: one line a group."""
    sizes = [[row.group, str(row.n), percent_up(row.clean)] for row in groups.rows]
    radii = [
        [groups.threat.number(radius, round_down) for radius in (row.mean_radius, row.median_radius)]
        for row in groups.rows
    ]
    return [
        Block("", [groups.name, "n", "clean %"], sizes),
        Block(groups.threat.quantity, ["mean", "median"], radii),
        *(_group_block(groups, place) for place in range(len(groups.radii))),
    ]


def worst_lines(groups: Groups) -> list[str]:
    """The worst group at each radius, and last what the bounds mean."""
    lines = []
    for one in groups.worst:
        lower = "" if one.lower is None else f"; the worst truly has at least {percent_below(one.lower)} %"
        lines.append(
            f"worst {groups.name} at {groups.threat.amount(one.radius)}: {one.group}, "
            f"{percent_down(one.certified)} % certified{lower}"
        )
    return [*lines, groups.statement]


def layer_cells(summary: Summary, one: Layer, no_radius: str = "", no_example: str = "") -> list[str]:
    """Input, label, certified radius, rounded down, and distance of its nearest example, rounded up."""
    number = summary.threat.number
    return [
        str(one.index),
        summary.property.word(one.label),
        no_radius if one.certified is None else number(one.certified, round_down),
        no_example if one.attacked is None else number(one.attacked, round_up),
    ]


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
        lines.append(f"INCOMPLETE: {summary.n} of {of} inputs attempted{attacked}; the same run command resumes")
    return [*lines, summary.statement, *summary.further, *map(str, summary.converted)]


def _gap(summary: Summary) -> str:
    """How far examples are from proofs; empty where no input has both."""
    gaps, number = summary.sandwich.gaps(), summary.threat.number
    if gaps.median is None or gaps.largest is None:
        return ""
    return (
        f"gap between proof and example: median {number(gaps.median, round_up)}, largest "
        f"{number(gaps.largest, round_up)} over "
        f"{gaps.both:,} inputs with both; {gaps.open:,} others predicted correctly"
    )


def _merged(these: Sequence[str], those: Sequence[str]) -> list[str]:
    """Merge two lists of headings without repeats; a heading of only one list keeps its predecessor."""
    merged, after = list(these), 0
    for heading in those:
        if heading not in merged:
            merged.insert(after, heading)
        after = merged.index(heading) + 1
    return merged


def _group_block(groups: Groups, place: int) -> Block:
    """What is certified of each group at one radius, bounded and attacked where that is known."""
    bounded = groups.worst[place].lower is not None
    attacked = groups.rows[0].attacked[place] is not None
    headings = ["certified %", *[at_least(groups.confidence)] * bounded, *["attacked %"] * attacked]
    title = groups.threat.amount(groups.radii[place])
    return Block(title, headings, [_group_cells(row, place) for row in groups.rows])


def _group_cells(row: GroupRow, place: int) -> list[str]:
    lower, attacked = row.lower[place], row.attacked[place]
    return [
        percent_down(row.certified[place]),
        *([] if lower is None else [percent_below(lower)]),
        *([] if attacked is None else [percent_up(attacked)]),
    ]
