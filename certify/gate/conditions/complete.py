"""Every input of the run was attempted, and attacked where an attack belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, Case, Condition
from certify.gate.outcome import Outcome, Result

__all__ = ["Complete"]


@CONDITIONS.register("complete")
@dataclass(frozen=True, slots=True)
class Complete(Condition):
    """The run is complete. Every gate asks for this, whether its policy says so or not."""

    kind: ClassVar[str] = "complete"
    on_part: ClassVar[bool] = True

    def title(self, case: Case) -> str:
        """The run."""
        return "complete run"

    def judge(self, case: Case) -> Outcome:
        """Compare what was done with what was to be done."""
        summary = case.run.summary
        attacked = "" if summary.attacked is None else f", {summary.attacked:,} attacked"
        of = summary.n if summary.expected is None else summary.expected
        said = f"{summary.n:,} of {of:,} inputs certified{attacked}"
        if summary.complete:
            return Outcome(self.kind, self.title(case), Result.PASSED, reason=said)
        return Outcome(self.kind, self.title(case), Result.FAILED, reason=f"{said}; the same run command resumes")
