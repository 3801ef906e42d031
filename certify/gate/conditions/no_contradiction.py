"""No adversarial example lies inside a certified radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, Case, Condition
from certify.gate.outcome import Outcome, Result

__all__ = ["NoContradiction"]


@CONDITIONS.register("no_contradiction")
@dataclass(frozen=True, slots=True)
class NoContradiction(Condition):
    """No attack contradicts a certificate. Every gate asks for this, whether its policy says so or not."""

    kind: ClassVar[str] = "no_contradiction"
    on_part: ClassVar[bool] = True

    def title(self, case: Case) -> str:
        """Certificates and attacks of this norm."""
        return f"no adversarial example inside a certified {case.run.summary.threat.measure} radius"

    def judge(self, case: Case) -> Outcome:
        """Name the first contradiction, and how many there are."""
        found = case.run.summary.contradictions
        if not found:
            ran = case.run.summary.attacked is not None
            return Outcome(self.kind, self.title(case), Result.PASSED, reason="" if ran else "but no attack ran")
        more = f"; and {len(found) - 1:,} more" if len(found) > 1 else ""
        return Outcome(self.kind, self.title(case), Result.FAILED, reason=f"{found[0]}{more}")
