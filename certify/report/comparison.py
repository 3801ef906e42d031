"""A comparison as text: ``table``, ``markdown``, ``html`` and ``json``, from the same cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from certify.core.comparison import COMPARISON_FORMATS, Change, Comparison, Shift
from certify.core.legible import legible_line
from certify.core.rounding import brief, percent_below, percent_down, percent_up, round_down, round_up
from certify.report import html, markdown
from certify.report.blocks import aligned, wrapped
from certify.summary.words import percent

__all__ = ["render_html", "render_json", "render_markdown", "render_table"]

_LISTED = 10
"""Up to this many positions of lost inputs are listed in a text; JSON has all of them."""


@COMPARISON_FORMATS.register("table")
def render_table(comparison: Comparison) -> str:
    """What is compared, the runs, a line for each run and radius, and what the figures mean."""
    lines = [*wrapped([_about(comparison)]), "", *aligned(_runs(comparison)), "", *aligned(_changes(comparison)), ""]
    lines += [*wrapped(_below(comparison), indent=2), "", *wrapped([comparison.statement])]
    return "\n".join(map(legible_line, lines))


@COMPARISON_FORMATS.register("markdown")
def render_markdown(comparison: Comparison) -> str:
    """The same for a pull request."""
    runs, changes = _runs(comparison), _changes(comparison)
    below = "\n".join(f"- {markdown.escape(text)}" for text in _below(comparison))
    return "\n\n".join(
        [
            f"### {markdown.escape(_about(comparison))}",
            markdown.table(runs[0], runs[1:], words=1),
            markdown.table(changes[0], changes[1:], words=1),
            *filter(None, [below]),
            markdown.escape(comparison.statement),
        ]
    )


@COMPARISON_FORMATS.register("html")
def render_html(comparison: Comparison) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    tables = html.table(_runs(comparison)) + html.table(_changes(comparison))
    below = html.paragraphs([*_below(comparison), comparison.statement])
    return f"<div>{html.paragraphs([_about(comparison)])}{tables}{below}</div>"


@COMPARISON_FORMATS.register("json")
def render_json(comparison: Comparison) -> str:
    """The comparison as one JSON object with all positions; fractions, not percents."""
    return json.dumps(comparison.to_dict(), indent=2, allow_nan=False)


def _about(comparison: Comparison) -> str:
    summary = comparison.baseline.summary
    box = summary.threat.input_box
    inputs = "no input box" if box is None else f"inputs in {box}"
    return (
        f"compared with {comparison.baseline.name} on the same {summary.n:,} inputs: "
        f"{summary.threat.measured}, {inputs}"
    )


def _runs(comparison: Comparison) -> list[list[str]]:
    lines = [["run", "clean %", "average radius", "certified by"]]
    for run in comparison.runs:
        by = run.summary.head.get("smoothing", run.summary.head.get("method", "")).split(", class chosen")[0]
        lines.append([run.name, percent_up(run.summary.clean), round_down(run.summary.acr), by])
    return lines


def _changes(comparison: Comparison) -> list[list[str]]:
    interval = f"interval ({percent(comparison.confidence)})"
    headings = ["run", "radius", "before %", "after %", "change pp", interval, "both", "lost", "gained", "neither", "p"]
    return [headings, *map(_line, comparison.changes)]


def _line(change: Change) -> list[str]:
    before, after = change.certified
    return [
        change.run,
        brief(change.radius),
        percent_down(before),
        percent_down(after),
        f"{100 * change.difference:+.1f}",
        ""
        if change.lower is None or change.upper is None
        else f"{_points(change.lower)} to {_points_up(change.upper)}",
        str(change.both),
        str(len(change.lost)),
        str(len(change.gained)),
        str(change.neither),
        "" if change.p_value is None else round_up(change.p_value) + ("*" if change.differs else " "),
    ]


def _points(difference: float) -> str:
    """Percentage points with their sign, rounded down."""
    text = percent_below(difference)
    return text if text.startswith("-") else f"+{text}"


def _points_up(difference: float) -> str:
    """Percentage points with their sign, rounded up."""
    opposite = percent_below(-difference)
    return f"+{opposite[1:]}" if opposite.startswith("-") else f"-{opposite}"


def _below(comparison: Comparison) -> Iterator[str]:
    models = {run.name: run.summary.head.get("model", "").partition("  ")[0] for run in comparison.runs}
    if len(set(models.values())) > 1:
        yield "models: " + "; ".join(f"{model} ({name})" for name, model in models.items())
    for change in comparison.changes:
        if change.lost:
            yield f"lost at {brief(change.radius)} by {change.run}: inputs {_listed(change.lost)}"
    yield from map(_shift, comparison.shifts)
    yield from comparison.notes


def _listed(positions: Sequence[int]) -> str:
    more = f" and {len(positions) - _LISTED:,} more" if len(positions) > _LISTED else ""
    return ", ".join(map(str, positions[:_LISTED])) + more


def _shift(shift: Shift) -> str:
    if shift.mean is None or shift.median is None:
        return f"radii of {shift.run}: no input has one under both runs"
    return (
        f"radii of {shift.run} against the baseline, {shift.both:,} inputs certified by both: mean {shift.mean:+.4f}, "
        f"median {shift.median:+.4f}"
    )
