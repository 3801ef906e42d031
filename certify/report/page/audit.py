"""The evidence for an audit as a table of clauses, and each sentence once under a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certify.core.run import Run
from certify.report.frameworks import NOT_ADVICE, evidence_for

__all__ = ["Audit", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What runs show beside clauses.

    Args:
        preface: what this is, and is not.
        clauses: framework, clause, what it asks, and the numbers of the evidence and of the gaps.
        evidence, gaps: the sentences; numbers count from 1.
    """

    preface: str
    clauses: list[list[str]]
    evidence: list[str]
    gaps: list[str]


def audit(runs: Sequence[Run]) -> Audit:
    """Everything that :func:`~certify.report.frameworks.evidence_for` says of the runs, nothing twice."""
    mapped = evidence_for(runs)
    evidence = list(dict.fromkeys(text for one in mapped for text in one.evidence))
    gaps = list(dict.fromkeys(text for one in mapped for text in one.gaps))
    clauses = [
        [
            f"{one.framework}: {one.clause}",
            one.asks,
            _numbers("E", one.evidence, evidence),
            _numbers("G", one.gaps, gaps),
        ]
        for one in mapped
    ]
    return Audit(NOT_ADVICE, clauses, evidence, gaps)


def _numbers(letter: str, said: Iterable[str], every: Sequence[str]) -> str:
    return ", ".join(f"{letter}{every.index(text) + 1}" for text in said)
