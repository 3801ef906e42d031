"""A policy's demand on accuracy under the run's attacks: a smoke test, since an attack that fails proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.rounding import brief
from certify.gate.conditions.base import CONDITIONS, POPULATION, THESE, ShareAtRadius, Trial, subject_in_words
from certify.gate.outcome import ConditionOutcome
from certify.stats.binomial import clopper_pearson_lower

__all__ = ["AttackedAccuracy"]


@CONDITIONS.register("attacked_accuracy")
@dataclass(frozen=True, slots=True)
class AttackedAccuracy(ShareAtRadius):
    """The accuracy under the run's attacks at a radius is at least a threshold.

    For these inputs that is a count, and nothing is uncertain about it. For the population it is the probability that a
    random input withstands these attacks, bounded below (Clopper and Pearson 1934). Either says how well an attack did,
    not how robust the model is.

    Args:
        radius: one that the run declared: no other was attacked.
        at_least: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "attacked_accuracy"

    @property
    def statement(self) -> str | None:
        """A bound for the population is one statement at each radius; a count is none."""
        return f"attacked accuracy of the population at {self.radius!r}" if self.of == POPULATION else None

    def title(self, trial: Trial) -> str:
        """The accuracy under attack, of which inputs and at which radius."""
        return f"accuracy under attack {subject_in_words(self.of)} at {trial.at(self.radius)}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the count, or the lower end that it gives for a population."""
        summary, row = trial.run.summary, trial.row(self.radius)
        if summary.attacked is None and row.empirical is None:
            return self.undecided(trial, "no attack ran: run again with --attack")
        if row.empirical is None or self.radius not in trial.declared:
            tried = ", ".join(map(brief, trial.declared))
            return self.undecided(trial, f"no attack was made at this radius: the run declared {tried}")
        if self.of == THESE:
            return self.lower(trial, row.empirical, row.empirical, self.at_least, holds="an exact count")
        if row.population_lower is None:
            return self.undecided(trial, trial.no_population(self.radius))
        end = clopper_pearson_lower(round(row.empirical * summary.n), summary.n, trial.share)
        return self.lower(trial, row.empirical, end, self.at_least, holds=trial.with_confidence(trial.drawn))
