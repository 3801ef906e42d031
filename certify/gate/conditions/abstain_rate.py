"""A policy's limit on the share of inputs left without an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from certify.gate.conditions.base import (
    CONDITIONS,
    POPULATION,
    THESE,
    Condition,
    Trial,
    checked_subject,
    fraction,
    subject_in_words,
)
from certify.gate.outcome import ConditionOutcome
from certify.stats.binomial import clopper_pearson_upper
from certify.summary.join import FAILED_VERDICTS

__all__ = ["AbstainRate"]


@CONDITIONS.register("abstain_rate")
@dataclass(frozen=True, slots=True)
class AbstainRate(Condition):
    """The share of inputs on which the certifier abstained or failed is at most a threshold.

    For these inputs that is a count. For the population it is the probability that a random input is left without an
    answer, bounded above (Clopper and Pearson 1934). A computation that failed, or that the method has no rule for, is
    no answer either: otherwise a run would do better by failing where it used to abstain.

    Args:
        at_most: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "abstain_rate"
    at_most: float
    of: str = THESE

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_most", fraction("at_most", self.at_most, least=False))
        checked_subject(self.of)

    @property
    def statement(self) -> str | None:
        """A bound for the population is one statement; a count is none."""
        return "abstain rate of the population" if self.of == POPULATION else None

    def title(self, trial: Trial) -> str:
        """The abstain rate, and of which inputs."""
        return f"abstain rate {subject_in_words(self.of)} ({trial.run.summary.threat.measure})"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the count, or the upper end that it gives for a population."""
        summary, row = trial.run.summary, trial.run.summary.rows[0]
        failed = int(np.isin(summary.sandwich.verdict, FAILED_VERDICTS).sum())
        unanswered = row.abstain + failed
        rate = unanswered / summary.n
        reason = f"{failed:,} of them failed rather than abstained, which is no answer either" if failed else ""
        if self.of == THESE:
            return self.upper(trial, rate, rate, self.at_most, holds="an exact count", reason=reason)
        if row.population_lower is None:
            return self.undecided(trial, trial.no_population(row.radius))
        end = clopper_pearson_upper(unanswered, summary.n, trial.share)
        return self.upper(trial, rate, end, self.at_most, holds=trial.with_confidence(trial.drawn), reason=reason)
