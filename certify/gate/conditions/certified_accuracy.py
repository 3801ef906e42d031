"""A policy's demand on certified accuracy at a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, THESE, ShareAtRadius, Trial, subject_in_words
from certify.gate.outcome import ConditionOutcome

__all__ = ["CertifiedAccuracy"]


@CONDITIONS.register("certified_accuracy")
@dataclass(frozen=True, slots=True)
class CertifiedAccuracy(ShareAtRadius):
    """The lower end of the certified accuracy at a radius is at least a threshold.

    For these inputs it is the observed fraction less the certificates that may be false, one statement over the
    sampling noise that holds at all radii at once; for proofs it is the fraction itself. For the population it is the
    bound at the smallest declared radius that is not below this one; the declared radii together are one statement.

    Args:
        radius: in the run's input units.
        at_least: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "certified_accuracy"

    @property
    def statement(self) -> str:
        """One statement for all radii, since the bounds at all radii hold at once."""
        return f"certified accuracy {subject_in_words(self.of)}, all radii"

    def title(self, trial: Trial) -> str:
        """The certified accuracy, of which inputs and at which radius."""
        return f"certified accuracy {subject_in_words(self.of)} at {trial.at(self.radius)}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the bound of the summary."""
        row = trial.row(self.radius)
        if self.of == THESE:
            proofs = trial.run.summary.guarantee.alpha is None
            holds = "with certainty: proofs" if proofs else trial.with_confidence("the sampling noise")
            return self.lower(trial, row.certified, row.certified_lower, self.at_least, holds=holds)
        if row.population_lower is None:
            return self.undecided(trial, trial.no_population(self.radius))
        data = trial.run.settings["data"]
        whole = f"the population is all {data['of']:,} inputs of the data set" if data["inputs"] < data["of"] else ""
        holds = trial.with_confidence(trial.drawn)
        return self.lower(trial, row.certified, row.population_lower, self.at_least, holds=holds, reason=whole)
