"""What every gate asks for, whether its policy says so or not: a complete run, and no contradiction in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, Condition, Trial
from certify.gate.outcome import ConditionOutcome, Result

__all__ = ["Complete", "NoContradiction"]


@CONDITIONS.register("complete")
@dataclass(frozen=True, slots=True)
class Complete(Condition):
    """Every input of the run was certified, and attacked where the run has an attack."""

    kind: ClassVar[str] = "complete"
    on_part: ClassVar[bool] = True

    def title(self, trial: Trial) -> str:
        """The run."""
        return "complete run"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare what was done with what was to be done."""
        summary = trial.run.summary
        attacked = "" if summary.attacked is None else f", {summary.attacked:,} attacked"
        of = summary.n if summary.expected is None else summary.expected
        said = f"{summary.n:,} of {of:,} inputs attempted{attacked}"
        if summary.complete:
            return self.without_figures(trial, Result.PASSED, said)
        return self.without_figures(trial, Result.FAILED, f"{said}; the same run command resumes")


@CONDITIONS.register("no_contradiction")
@dataclass(frozen=True, slots=True)
class NoContradiction(Condition):
    """No adversarial example lies inside a certified radius."""

    kind: ClassVar[str] = "no_contradiction"
    on_part: ClassVar[bool] = True

    def title(self, trial: Trial) -> str:
        """Certificates and attacks of this norm."""
        return f"no adversarial example inside a certified {trial.run.summary.threat.quantity}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Name the first contradiction, and how many there are."""
        found = trial.run.summary.contradictions
        if not found:
            ran = trial.run.summary.attacked is not None
            return self.without_figures(trial, Result.PASSED, "" if ran else "but no attack ran")
        more = f"; and {len(found) - 1:,} more" if len(found) > 1 else ""
        return self.without_figures(trial, Result.FAILED, f"{found[0]}{more}")
