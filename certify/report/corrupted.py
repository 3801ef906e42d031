"""Accuracy under corruptions as text: ``table``, ``markdown``, ``html`` and ``latex`` of one table, and ``json``."""

from __future__ import annotations

import json

from certify.core.corrupted import CORRUPT_FORMATS, Corrupted
from certify.core.legible import legible_line
from certify.core.rounding import percent_down, percent_up
from certify.report import html, markdown
from certify.report.blocks import labelled, wrapped
from certify.report.latex.text import escape as tex
from certify.report.titled import Titled

__all__ = ["render_html", "render_json", "render_latex", "render_markdown", "render_table"]

SHOWN = 5
"""Contradictions that a text tells; the record holds all."""


@CORRUPT_FORMATS.register("table")
def render_table(found: Corrupted) -> str:
    """The head, the table, and what is promised."""
    below = [line for text in _below(found) for line in ["", *wrapped([text])]]
    return "\n".join(map(legible_line, [*labelled(found.head), "", *_titled(found).table().splitlines(), *below]))


@CORRUPT_FORMATS.register("markdown")
def render_markdown(found: Corrupted) -> str:
    """The same for a pull request."""
    head = "\n".join(f"- **{markdown.escape(name)}**: {markdown.escape(text)}" for name, text in found.head.items())
    return "\n\n".join([_titled(found).markdown(), head, *map(markdown.escape, _below(found))])


@CORRUPT_FORMATS.register("html")
def render_html(found: Corrupted) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    head = "<br>".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in found.head.items())
    return f"<div><p>{head}</p>{_titled(found).html()}{html.paragraphs(_below(found))}</div>"


@CORRUPT_FORMATS.register("latex")
def render_latex(found: Corrupted) -> str:
    """The same for a paper; it needs the package booktabs."""
    return "\n\n".join([_titled(found).latex(), *map(tex, _below(found))])


@CORRUPT_FORMATS.register("json")
def render_json(found: Corrupted) -> str:
    """The record, with the inputs that each row misclassifies."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def _titled(found: Corrupted) -> Titled:
    beside = [f"certified % ({run.name})" for run in found.runs] if len(found.runs) > 1 else ["certified %"]
    lines = []
    for row in found.rows:
        certified = ["" if one is None else percent_down(one) for one in row.certified]
        bounds = [percent_down(row.lower), percent_up(row.upper)]
        name = f"{row.corruption} {row.severity}" if row.severity else row.corruption
        lines.append([name, row.amount, percent_down(row.accuracy), *bounds, *certified])
    return Titled(
        f"Accuracy of {found.n:,} inputs under {len(found.corruptions)} corruptions.",
        [["corruption", "strength", "accuracy %", "from", "to", *beside], *lines],
        "From, to: the interval for new inputs. Certified: right, and certified as far as the corruption goes.",
        "corruptions",
        [True, True, *[False] * (3 + len(beside))],
    )


def _below(found: Corrupted) -> list[str]:
    said = []
    if found.contradictions:
        listed = "; ".join(map(str, found.contradictions[:SHOWN]))
        more = f"; and {len(found.contradictions) - SHOWN:,} more" if len(found.contradictions) > SHOWN else ""
        said.append(f"CONTRADICTION: {listed}{more}. Please report it with the record.")
    return [*said, *found.statement, *found.notes]
