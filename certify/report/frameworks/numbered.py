"""The evidence for all clauses with each sentence once: clauses refer to it by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certify.report.frameworks.mapped import Mapped

__all__ = ["Numbered", "NumberedClause", "numbered"]


@dataclass(frozen=True, slots=True)
class NumberedClause:
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


def _places(letter: str, texts: Iterable[str]) -> dict[str, str]:
    return {text: f"{letter}{place}" for place, text in enumerate(dict.fromkeys(texts), 1)}
