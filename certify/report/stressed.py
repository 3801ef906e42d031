"""A stress test as text: ``table``, ``markdown``, ``html`` and ``latex`` of its tables, and ``json``."""

from __future__ import annotations

import json

from certify.core.legible import legible_line, many
from certify.core.rounding import percent_below, percent_up
from certify.core.stressed import STRESS_FORMATS, Stressed
from certify.report import html, markdown
from certify.report.blocks import labelled, wrapped
from certify.report.latex.text import escape as tex
from certify.report.titled import Titled

__all__ = ["render_html", "render_json", "render_latex", "render_markdown", "render_table"]

SHOWN = 20
"""Cases that a text tells; the record holds all."""


@STRESS_FORMATS.register("table")
def render_table(found: Stressed) -> str:
    """The head, the tables, and what is promised."""
    tables = [line for one in _tables(found) for line in ["", *one.table().splitlines()]]
    below = [line for text in _below(found) for line in ["", *wrapped([text])]]
    return "\n".join(map(legible_line, [*labelled(found.head), *tables, *below]))


@STRESS_FORMATS.register("markdown")
def render_markdown(found: Stressed) -> str:
    """The same for a pull request."""
    head = "\n".join(f"- **{markdown.escape(name)}**: {markdown.escape(text)}" for name, text in found.head.items())
    tables = [one.markdown() for one in _tables(found)]
    return "\n\n".join([head, *tables, *map(markdown.escape, _below(found))])


@STRESS_FORMATS.register("html")
def render_html(found: Stressed) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    head = "<br>".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in found.head.items())
    tables = "".join(one.html() for one in _tables(found))
    return f"<div><p>{head}</p>{tables}{html.paragraphs(_below(found))}</div>"


@STRESS_FORMATS.register("latex")
def render_latex(found: Stressed) -> str:
    """The same for a paper; it needs the package booktabs."""
    return "\n\n".join([*(one.latex() for one in _tables(found)), *map(tex, _below(found))])


@STRESS_FORMATS.register("json")
def render_json(found: Stressed) -> str:
    """The record, with all cases."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def _tables(found: Stressed) -> list[Titled]:
    return [_falls(found), _cases(found), *([_load(found)] if found.load else [])]


def _falls(found: Stressed) -> Titled:
    lines = [
        [
            one.corruption,
            one.shape,
            f"{one.amounts[0]} to {one.amounts[1]}",
            *(_points(one.step), percent_below(one.step_lower), percent_up(one.step_upper)),
            *(_points(one.whole), percent_below(one.whole_lower), percent_up(one.whole_upper)),
        ]
        for one in found.falls
    ]
    return Titled(
        "How accuracy falls: where it is steepest, and in all, in points.",
        [["corruption", "fall", "steepest between", "points", "from", "to", "in all", "from", "to"], *lines],
        "From, to: the intervals for new inputs, rounded outward.",
        "falls",
        [True, True, True, *[False] * 6],
    )


def _cases(found: Stressed) -> Titled:
    lines = [
        [
            str(one.row),
            one.kind,
            f"{one.measure:.3g}",
            f"{one.margin:.3g}",
            "" if one.prediction is None else str(one.prediction),
            one.source,
        ]
        for one in found.cases[:SHOWN]
    ]
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.found.items()))
    return Titled(
        f"{many(len(found.cases), 'edge case')} in {found.inputs}.",
        [["row", "kind", "measure", "margin", "answer now", "source"], *lines],
        f"Found: {told}. Measure: distance in l2 (between), share of severity 5 (transform), margin (corner, group).",
        "edge-cases",
        [False, True, False, False, False, True],
    )


def _load(found: Stressed) -> Titled:
    lines = [
        [
            f"{one.batch:,}",
            *(f"{value:.2f}" for value in (one.p50, one.p95, one.p99)),
            f"{one.per_second:,.0f}",
            "" if one.peak is None else f"{one.peak / 2**20:,.0f}",
            str(one.repeats),
        ]
        for one in found.load
    ]
    return Titled(
        f"Measured under load: {found.machine}.",
        [["batch", "p50 ms", "p95 ms", "p99 ms", "inputs/s", "peak MiB", "repeats"], *lines],
        "Measured here, and no statement about any other machine or time.",
        "load",
        [False] * 7,
    )


def _points(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:.1f}"  # no -0.0


def _below(found: Stressed) -> list[str]:
    said = []
    if found.contradictions:
        listed = "; ".join(map(str, found.contradictions[:5]))
        more = f"; and {len(found.contradictions) - 5:,} more" if len(found.contradictions) > 5 else ""
        said.append(f"CONTRADICTION: {listed}{more}. Please report it with the record.")
    return [*said, *found.statement]
