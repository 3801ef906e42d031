"""What became of claims that others published: each shown again, refuted, or neither. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

__all__ = ["Audit", "Audited", "Standing"]


class Standing(Enum):
    """Where a claim stands after an audit; the value is the word to show."""

    CONFIRMED = "confirmed"
    """Shown again here: by a proof if the claim is robustness, by an example that was executed if it is not."""

    HELD = "not refuted"
    """Robustness that was attacked without success; nothing was proven."""

    REFUTED = "refuted"
    """The contrary was shown here, by an example that was executed or by a proof."""

    OPEN = "not confirmed"
    """Said to be no robustness, but no example was found, and nothing was proven either."""

    FAILED = "not examined"
    """What the claim is about could not be read or executed: it says nothing about the claim."""


@dataclass(frozen=True, slots=True)
class Audited:
    """One claim and what became of it.

    Args:
        subject: what it is about, in words.
        family: the group of the table that it belongs to; empty where there are none.
        claim: its word, such as ``"unsat"`` or ``"robust"``.
        by: the tools that make it, where the table says.
        lines: where it stands in the table.
        standing: what became of it.
        how: what that rests on, in words.
        witness: the file that the example was written to; empty where there is none.
        seconds: what it took.
    """

    subject: str
    family: str
    claim: str
    by: tuple[str, ...]
    lines: tuple[int, ...]
    standing: Standing
    how: str
    witness: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "standing": self.standing.value, "by": list(self.by), "lines": list(self.lines)}

    def __str__(self) -> str:
        who = f" by {', '.join(self.by)}" if self.by else ""
        lines = f"line{'s' if len(self.lines) > 1 else ''} {', '.join(map(str, self.lines))}"
        return f"{self.subject}: {self.claim}{who} ({lines}) is {self.standing.value}: {self.how}"


@dataclass(frozen=True, slots=True)
class Audit:
    """A table of claims after its audit.

    Args:
        about: what was audited and how, in words, by name.
        expected: how many claims there are.
        claims: those that were examined; fewer than expected if the audit was interrupted.
        disputes: claims of the table that cannot be true together, in words.
        notes: what was left out, in words.
    """

    about: Mapping[str, str]
    expected: int
    claims: tuple[Audited, ...]
    disputes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def refuted(self) -> tuple[Audited, ...]:
        """The claims whose contrary was shown."""
        return tuple(one for one in self.claims if one.standing is Standing.REFUTED)

    @property
    def contradicted(self) -> bool:
        """Whether a claim was refuted, or the table contradicts itself."""
        return bool(self.refuted or self.disputes)

    @property
    def complete(self) -> bool:
        """Whether every claim was examined, and none of them failed."""
        return len(self.claims) == self.expected and all(one.standing is not Standing.FAILED for one in self.claims)

    def counts(self) -> dict[tuple[str, str], dict[Standing, int]]:
        """How many claims stand where, by family and word of the claim, in the order of the table."""
        found: dict[tuple[str, str], dict[Standing, int]] = {}
        for one in self.claims:
            row = found.setdefault((one.family, one.claim), dict.fromkeys(Standing, 0))
            row[one.standing] += 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "about": dict(self.about),
            "expected": self.expected,
            "examined": len(self.claims),
            "complete": self.complete,
            "contradicted": self.contradicted,
            "claims": [one.to_dict() for one in self.claims],
            "disputes": list(self.disputes),
            "notes": list(self.notes),
        }
