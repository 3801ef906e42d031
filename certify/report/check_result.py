"""What a check found, as text: counts by claim, what is refuted, what was not checked and why, what it proves."""

from __future__ import annotations

from collections import Counter
from typing import Final

from certify.checker.result import CheckResult, Standing
from certify.core.legible import legible_line
from certify.core.shown import VIEWS
from certify.report.blocks import aligned, labelled, wrapped

__all__ = ["check_text"]

_LISTED: Final = 20
"""Up to this many refuted claims are named one by one; the rest are counted."""


@VIEWS.register("outcome.text")
def check_text(result: CheckResult) -> str:
    """The whole result of a check as plain text.

    >>> from certify.checker.result import judged
    >>> one = judged("input 3, smoothing", "radius", "0.9 is above 0.5")
    >>> print(check_text(CheckResult((one,))))
     claim  confirmed  refuted  not checked
    ------  ---------  -------  -----------
    radius          0        1            0
    <BLANKLINE>
    refuted: input 3, smoothing: radius, 0.9 is above 0.5
    <BLANKLINE>
    1 claim of 1 is refuted.
    """
    rows = [["claim", *(standing.value for standing in Standing)]]
    rows += [[claim, *(f"{counts[one]:,}" for one in Standing)] for claim, counts in result.counts.items()]
    parts = [labelled(result.head), aligned(rows), _refuted(result), _open(result), _closing(result)]
    return "\n\n".join("\n".join(map(legible_line, part)) for part in parts if part)


def _refuted(result: CheckResult) -> list[str]:
    lines = wrapped((f"refuted: {one.subject}: {one.claim}, {one.said}" for one in result.refuted[:_LISTED]), indent=2)
    more = len(result.refuted) - _LISTED
    return lines + [f"and {more:,} more refuted; --format json names them all"] * (more > 0)


def _open(result: CheckResult) -> list[str]:
    """What was not checked, by claim and reason; of reasons that differ from input to input, one stands for all."""
    reasons: dict[str, Counter[str]] = {}
    for one in result.open:
        reasons.setdefault(one.claim, Counter())[one.said] += 1
    lines = []
    for claim, said in reasons.items():
        reason, count = said.most_common(1)[0]
        total = said.total()
        example = "" if count == total else "for example: "
        lines.append(f"not checked: {claim} ({total:,}): {example}{reason}")
    return wrapped(lines, indent=2)


def _closing(result: CheckResult) -> list[str]:
    total, refuted, left = len(result.claims), len(result.refuted), len(result.open)
    if refuted:
        verdict = f"{refuted:,} claim{'s' * (refuted > 1)} of {total:,} {'are' if refuted > 1 else 'is'} refuted."
    elif left:
        verdict = (
            f"Nothing is refuted; {total - left:,} of {total:,} claims are confirmed, {left:,} could not be checked."
        )
    else:
        verdict = f"All {total:,} claims are confirmed."
    fields = "; ".join(f"{kind} {', '.join(names)}" for kind, names in result.unchecked.items())
    trusted = f"Taken on trust, because nobody can derive it: {fields}." if fields else ""
    return wrapped([verdict, result.absent, result.statement, trusted])
