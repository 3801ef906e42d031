"""At least so many inputs withstand the attacks of the run. An attack that fails proves nothing: it is a smoke test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.core.rounding import brief
from certify.gate.conditions.base import CONDITIONS, Case, ShareAtRadius
from certify.gate.outcome import Outcome
from certify.gate.values import POPULATION, THESE, whose
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
        """One for each radius of the population; counts need none."""
        return f"attacked accuracy of the population at {self.radius!r}" if self.of == POPULATION else None

    def title(self, case: Case) -> str:
        """Accuracy under attack, of whom, where."""
        return f"accuracy under attack {whose(self.of)} at {case.at(self.radius)}"

    def judge(self, case: Case) -> Outcome:
        """Compare the count, or the lower end that it gives for a population."""
        summary, row = case.run.summary, case.row(self.radius)
        if summary.attacked is None and row.empirical is None:
            return self.undecided(case, "no attack ran: run again with --attack")
        if row.empirical is None or self.radius not in case.declared:
            tried = ", ".join(map(brief, case.declared))
            return self.undecided(case, f"no attack was made at this radius: the run declared {tried}")
        if self.of == THESE:
            return self.lower(case, row.empirical, row.empirical, self.at_least, holds="an exact count")
        if row.population_lower is None:
            return self.undecided(case, case.no_population(self.radius))
        end = clopper_pearson_lower(round(row.empirical * summary.n), summary.n, case.share)
        return self.lower(case, row.empirical, end, self.at_least, holds=case.with_confidence(case.drawn))
