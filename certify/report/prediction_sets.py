"""Prediction sets as text: ``table``, ``markdown``, ``html`` and ``latex`` of one table, and ``json``."""

from __future__ import annotations

import json
import math

from certify.core.legible import legible_line
from certify.core.prediction_sets import SET_FORMATS, PredictionSets, SetRow
from certify.core.rounding import percent_down, percent_up
from certify.report import html, markdown
from certify.report.blocks import labelled, wrapped
from certify.report.latex.text import escape as tex
from certify.report.titled import Titled

__all__ = ["render_html", "render_json", "render_latex", "render_markdown", "render_table"]


@SET_FORMATS.register("table")
def render_table(found: PredictionSets) -> str:
    """The head, the table, and what is promised."""
    below = [line for text in _below(found) for line in ["", *wrapped([text])]]
    return "\n".join(map(legible_line, [*labelled(found.head), "", *_titled(found).table().splitlines(), *below]))


@SET_FORMATS.register("markdown")
def render_markdown(found: PredictionSets) -> str:
    """The same for a pull request."""
    head = "\n".join(f"- **{markdown.escape(name)}**: {markdown.escape(text)}" for name, text in found.head.items())
    return "\n\n".join([_titled(found).markdown(), head, *map(markdown.escape, _below(found))])


@SET_FORMATS.register("html")
def render_html(found: PredictionSets) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    head = "<br>".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in found.head.items())
    return f"<div><p>{head}</p>{_titled(found).html()}{html.paragraphs(_below(found))}</div>"


@SET_FORMATS.register("latex")
def render_latex(found: PredictionSets) -> str:
    """The same for a paper; it needs the package booktabs."""
    return "\n\n".join([_titled(found).latex(), *map(tex, _below(found))])


@SET_FORMATS.register("json")
def render_json(found: PredictionSets) -> str:
    """The record, with the sets of every input."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def _titled(found: PredictionSets) -> Titled:
    columns = ["radius", "size", "empty %", "single %", "covered %", "attacked %", "plain: proven %", "attacked %"]
    lines = [["plain", *_cells(found.plain, ""), "", ""]]
    for row in found.rows:
        proven = "" if row.plain_proven is None else percent_down(row.plain_proven)
        under = "" if row.plain_attacked is None else percent_up(row.plain_attacked)
        attacked = "" if row.attacked is None else percent_up(row.attacked)
        lines.append([found.threat.number(row.radius), *_cells(row, attacked), proven, under])
    return Titled(
        f"Prediction sets of {len(found.inputs):,} inputs that cover {100 * found.coverage:g} %, by "
        f"{found.threat.measured}.",
        [columns, *lines],
        "Size: classes in a set, on average. Covered: sets that hold the label; attacked: the same at changed inputs "
        "that were found. Plain: conformal sets that allow for no change; proven: those that hold the label under "
        "every change within the radius.",
        "sets",
        [True, *[False] * 7],
    )


def _cells(row: SetRow, attacked: str) -> list[str]:
    covered = "" if row.covered is None else percent_down(row.covered)
    shares = [percent_down(row.empty), percent_down(row.single), covered]
    return [f"{math.ceil(1000 * row.size - 1e-6) / 1000:.3f}", *shares, attacked]


def _below(found: PredictionSets) -> list[str]:
    said = []
    if found.contradictions:
        listed = ", ".join(map(str, found.contradictions[:5]))
        said.append(
            f"CONTRADICTION: the sets of inputs {listed}{', ...' * (len(found.contradictions) > 5)} lack a label that "
            "was proven to be in them: please report it with the record."
        )
    if found.proven is not None:
        said.append(
            f"{percent_down(found.proven)} % of these inputs are covered at every radius under every change within it: "
            "this is proven."
        )
    return [*said, *found.statement, *found.notes]
