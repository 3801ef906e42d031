"""What runs show beside what each clause asks for; and the same with every sentence once, under a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from certify.core.run import Run
from certify.errors import BadInput
from certify.report.frameworks.clauses import CLAUSES, Clause
from certify.report.frameworks.statements import robustness
from certify.report.side_by_side import said_once

__all__ = ["NOT_ADVICE", "Mapped", "Numbered", "NumberedClause", "evidence_for", "numbered"]

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


class NumberedClause(NamedTuple):
    """One clause, what it asks for, and the numbers of the evidence ("E1, E2") and of the gaps ("G1")."""

    framework: str
    clause: str
    asks: str
    evidence: str
    gaps: str


@dataclass(frozen=True, slots=True)
class Numbered:
    """Clauses, and the sentences that they refer to; numbers count from 1.

    Args:
        clauses: in the order given.
        evidence: what the runs show; the first sentence is E1.
        gaps: what they do not show; the first is G1.
    """

    clauses: tuple[NumberedClause, ...]
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


def numbered(mapped: Sequence[Mapped]) -> Numbered:
    """Number every sentence by its first clause.

    >>> one = Mapped("law", "1", "a", ("shown",), ("open",))
    >>> found = numbered([one, Mapped("law", "2", "b", ("more", "shown"), ())])
    >>> found.evidence, [clause.evidence for clause in found.clauses]
    (('shown', 'more'), ['E1', 'E2, E1'])
    """
    evidence = _places("E", (text for one in mapped for text in one.evidence))
    gaps = _places("G", (text for one in mapped for text in one.gaps))
    clauses = tuple(
        NumberedClause(
            one.framework,
            one.clause,
            one.asks,
            ", ".join(evidence[text] for text in one.evidence),
            ", ".join(gaps[text] for text in one.gaps),
        )
        for one in mapped
    )
    return Numbered(clauses, tuple(evidence), tuple(gaps))


def _mapped(clause: Clause, runs: Sequence[Run]) -> Mapped:
    facts = said_once((run.name, one) for run in runs for fact in clause.facts for one in fact(run))
    said = [(f"{', '.join(names)}: {one.text}", one.gap) for one, names in facts.items()]
    bounded = " or ".join(sorted({run.summary.threat.quantity for run in runs}))
    narrow = [f"Only changes of a bounded {bounded} were considered: no rotation, weather, patch or text."]
    if robustness not in clause.facts:
        narrow = []
    return Mapped(
        clause.framework,
        clause.clause,
        clause.asks,
        tuple(dict.fromkeys(text for text, gap in said if not gap)),
        tuple(dict.fromkeys([*(text for text, gap in said if gap), *narrow, *clause.beyond])),
    )


def _places(letter: str, texts: Iterable[str]) -> dict[str, str]:
    return {text: f"{letter}{place}" for place, text in enumerate(dict.fromkeys(texts), 1)}
