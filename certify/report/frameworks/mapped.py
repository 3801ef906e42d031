"""Runs beside clauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certify.core.run import Run
from certify.errors import BadInput
from certify.report.alike import once
from certify.report.frameworks.clauses import CLAUSES, Clause
from certify.report.frameworks.facts import robustness

__all__ = ["NOT_ADVICE", "Mapped", "evidence_for"]

NOT_ADVICE: Final = (
    "What the runs show is set beside what each clause asks for, in our own words. It is evidence for a reader to "
    "weigh, not legal advice, and no statement that a requirement is met."
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """One clause beside what the runs show.

    Args:
        framework, clause: where it is written.
        asks: what it asks for, in our own words.
        evidence: what the runs show, one sentence each, which begins with the names of the runs that it is about.
        gaps: what they do not show.
    """

    framework: str
    clause: str
    asks: str
    evidence: tuple[str, ...]
    gaps: tuple[str, ...]


def evidence_for(runs: Sequence[Run]) -> list[Mapped]:
    """Each clause with the evidence and the gaps of all runs, in the order of ``CLAUSES``.

    Raises:
        BadInput: for no run.
    """
    if not runs:
        raise BadInput("nothing to set beside a framework: name at least one run")
    return [_mapped(clause, runs) for clause in CLAUSES]


def _mapped(clause: Clause, runs: Sequence[Run]) -> Mapped:
    facts = once((run.name, one) for run in runs for fact in clause.facts for one in fact(run))
    said = [(f"{', '.join(names)}: {one.text}", one.gap) for one, names in facts.items()]
    norms = " and ".join(sorted({run.summary.threat.measure for run in runs}))
    narrow = f"Only changes measured in {norms} were considered: no rotation, weather, patch or text."
    return Mapped(
        clause.framework,
        clause.clause,
        clause.asks,
        tuple(dict.fromkeys(text for text, gap in said if not gap)),
        tuple(
            dict.fromkeys(
                [
                    *(text for text, gap in said if gap),
                    *([narrow] if robustness in clause.facts else []),
                    *clause.beyond,
                ]
            )
        ),
    )
