"""Format ``markdown``: a summary for pull requests and the page of a workflow run."""

from __future__ import annotations

from typing import Final

from certify.gate.judge import GATE_FORMATS, Judgement
from certify.gate.outcome import Outcome
from certify.report.markdown_text import escape, table

__all__ = ["render"]

_HEADINGS: Final = ("result", "condition", "required", "observed", "interval end", "means")


@GATE_FORMATS.register("markdown")
def render(judgement: Judgement) -> str:
    """A heading with the answer, a line for each condition, and what it is worth."""
    run, head = judgement.case.run, judgement.case.run.summary.head
    named = {"run": run.name, "policy": judgement.policy.name}
    if judgement.case.baseline is not None:
        named["baseline"] = judgement.case.baseline.name
    named |= {name: head[name] for name in ("model", "data", "threat", "guarantee")}
    digests = ", ".join(f"{name} {escape(digest)}" for name, digest in judgement.digests.items() if digest)
    parts = [
        f"### certify gate: {judgement.word}",
        "\n".join(f"- {name}: {escape(text)}" for name, text in named.items()),
        table(_HEADINGS, [_cells(outcome) for outcome in judgement.outcomes], words=len(_HEADINGS)),
        escape(judgement.statement),
        f"SHA-256: {digests}",
    ]
    return "\n\n".join(parts)


def _cells(outcome: Outcome) -> list[str]:
    result = str(outcome.result) if outcome.passed else str(outcome.result).upper()
    required, observed, end = outcome.figures().values() or ("", "", "")
    return [result, outcome.title, required, observed, end, "; ".join(filter(None, [outcome.holds, outcome.reason]))]
