"""What to do next about a run, as text: ``table``, ``markdown`` and ``json``, from the same cells."""

from __future__ import annotations

import json
from collections.abc import Sequence

from certify.core.legible import legible_line
from certify.core.rounding import percent_down, percent_up, round_down
from certify.report import markdown
from certify.report.blocks import WIDTH, aligned, labelled, wrapped
from certify.study.improve.advise import IMPROVEMENT_FORMATS, Improvement
from certify.study.improve.base import Advice
from certify.study.improve.explanation import Explanation
from certify.study.improve.losses import MEANINGS

__all__ = ["render_json", "render_markdown", "render_table"]

_PRINCIPLE = (
    "The points of an advice are the inputs that it is about, on average over the declared radii above 0: an upper "
    "limit of what it can gain there, unless it is called projected. Advice about the same inputs does not add up."
)


_EXPLAINED = (
    "The weakest inputs that are predicted correctly. Integrated gradients (Sundararajan, Taly and Yan 2017) divide "
    "the margin, less what it is at the mean of all inputs, among the features; they describe the model and prove "
    "nothing."
)


@IMPROVEMENT_FORMATS.register("table")
def render_table(found: Improvement) -> str:
    """Where it is lost, what is known, and each advice with its reasons and commands; commands are never wrapped."""
    head = found.run.summary.head
    about = {name: head[name] for name in ("model", "data", "threat", "smoothing", "method") if name in head}
    lines = [f"what to improve in {found.run.name}", "", *labelled(about), "", *aligned(_losses(found)), ""]
    lines += wrapped(_below(found), indent=2)
    for place, one in enumerate(found.advice, 1):
        lines += ["", *_titled(f"{place}. {one.do}", _points(one))]
        lines += _indented({"sees": one.sees, "why": f"{one.why} ({one.source})"})
        lines += [f"   {'do' if not number else '':<8} {command}" for number, command in enumerate(one.commands)]
        lines += _indented({"cost": one.cost, "refuted": f"if {one.refuted}"})
    lines += ["", *wrapped([found.closing or _PRINCIPLE])]
    if found.explained:
        lines += ["", *wrapped([_EXPLAINED]), *(line for one in found.explained for line in _explanation(one))]
    return "\n".join(legible_line(line).rstrip() for line in lines)


@IMPROVEMENT_FORMATS.register("markdown")
def render_markdown(found: Improvement) -> str:
    """The same for a pull request or an issue."""
    losses = _losses(found)
    parts = [
        f"### What to improve in {markdown.escape(found.run.name)}",
        markdown.table(losses[0], losses[1:]),
        "\n".join(f"- {markdown.escape(text)}" for text in _below(found)),
    ]
    for place, one in enumerate(found.advice, 1):
        fence = "```"
        while any(fence in command for command in one.commands):
            fence += "`"
        parts += [
            f"#### {place}\\. {markdown.escape(one.do)} ({markdown.escape(_points(one))})",
            f"{markdown.escape(f'{one.sees}.')} {markdown.escape(f'Why: {one.why} ({one.source}).')}",
            "\n".join([f"{fence}sh", *map(legible_line, one.commands), fence]),
            f"{markdown.escape(f'Cost: {one.cost}.')} {markdown.escape(f'Refuted if {one.refuted}.')}",
        ]
    parts.append(markdown.escape(found.closing or _PRINCIPLE))
    for weak in found.explained:
        table = _features(weak)
        parts += [f"**{markdown.escape(_about(weak))}**", markdown.table(table[0], table[1:], words=1)]
    return "\n\n".join([*parts, *[markdown.escape(_EXPLAINED)] * bool(found.explained)])


@IMPROVEMENT_FORMATS.register("json")
def render_json(found: Improvement) -> str:
    """One JSON object; shares are fractions."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def _losses(found: Improvement) -> list[list[str]]:
    """A line a radius: percent certified, and lost in each way that occurs."""
    losses, threat = found.case.losses, found.run.summary.threat
    kinds = [kind for kind in MEANINGS if any(one.shares[kind] for one in losses)]
    rows = [
        [threat.number(one.radius), percent_down(one.certified), *(percent_up(one.shares[kind]) for kind in kinds)]
        for one in losses
    ]
    return [["radius", "certified %", *kinds], *rows]


def _below(found: Improvement) -> list[str]:
    kinds = [kind for kind in MEANINGS if any(one.shares[kind] for one in found.case.losses)]
    meanings = "; ".join(f"{kind}: {MEANINGS[kind]}" for kind in kinds)
    lost = [f"Percent of the inputs; each counts once, in the first of these: {meanings}."] if kinds else []
    fall = [f"{found.fall[0].upper()}{found.fall[1:]}."] if found.fall and kinds else []
    return [*lost, *fall, *found.notes]


def _about(one: Explanation) -> str:
    radius = "not certified" if one.radius is None else f"certified to {round_down(one.radius)}"
    return (
        f"input {one.index}, label {one.label} before {one.runner_up}: margin {one.margin:.3g}, {one.start:.3g} at the "
        f"mean input; {radius}; {one.said}; the parts of all features miss the difference by {abs(one.missed):.2g}"
    )


def _features(one: Explanation) -> list[list[str]]:
    """A line a feature: its place, its value, its part of the margin, and what the example changes."""
    rows = [
        [
            ",".join(map(str, feature.place)),
            f"{feature.value:.3g}",
            f"{feature.adds:+.3g}",
            "" if feature.change is None else f"{feature.change:+.3g}",
        ]
        for feature in one.top()
    ]
    return [["feature", "value", "part of the margin", "change by the example"], *rows]


def _explanation(one: Explanation) -> list[str]:
    return ["", *wrapped([_about(one)], indent=2), *(f"  {line}" for line in aligned(_features(one)))]


def _points(one: Advice) -> str:
    if not one.reach:
        return "finds out more"
    return f"{'projected' if one.projected else 'up to'} {100 * one.reach:.1f} points"


def _titled(title: str, points: str) -> list[str]:
    """A title with its points at the right end of its last line, or below it."""
    *lines, last = wrapped([title], indent=3)
    gap = WIDTH - len(last) - len(points)
    return [*lines, f"{last}{' ' * gap}{points}"] if gap > 1 else [*lines, last, points.rjust(WIDTH)]


def _indented(texts: dict[str, str]) -> Sequence[str]:
    return [line for name, text in texts.items() for line in wrapped([f"   {name:<8} {text}"], indent=12)]
