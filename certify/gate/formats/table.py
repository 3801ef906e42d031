"""Format ``table``: plain text for a terminal or a log."""

from __future__ import annotations

import textwrap

from certify.core.legible import legible_line
from certify.core.rounding import percent_up
from certify.gate.judge import GATE_FORMATS, Judgement
from certify.gate.outcome import Outcome

__all__ = ["render"]

WIDTH = 110


@GATE_FORMATS.register("table")
def render(judgement: Judgement) -> str:
    """The answer, what it is about, and every condition with its figures."""
    run, policy = judgement.case.run, judgement.policy
    baseline = "" if judgement.case.baseline is None else f", baseline {judgement.case.baseline.name}"
    lines = [f"{judgement.word}: {policy.name} on {run.name}{baseline}", ""]
    about = {**run.summary.head, "clean": f"{percent_up(run.summary.clean)} % of {run.summary.n:,} inputs"}
    for name in ("model", "data", "threat", "guarantee", "clean"):
        lines += textwrap.wrap(f"{name:<10} {about[name]}", WIDTH, subsequent_indent=" " * 11)
    lines.append("")
    for outcome in judgement.outcomes:
        lines += _lines(outcome)
    return "\n".join(map(legible_line, [*lines, "", *textwrap.wrap(judgement.statement, WIDTH)]))


def _lines(outcome: Outcome) -> list[str]:
    result = str(outcome.result) if outcome.passed else str(outcome.result).upper()
    figures = "   ".join(f"{name} {text}" for name, text in outcome.figures().items())
    rest = "; ".join(filter(None, [figures, outcome.holds, outcome.reason]))
    indent = " " * 11
    wrapped = textwrap.wrap(rest, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [f"{result:<10} {outcome.title}", *wrapped]
