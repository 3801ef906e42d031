"""At most so many inputs are left without an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, Case, Condition
from certify.gate.outcome import Outcome
from certify.gate.values import POPULATION, THESE, fraction, of_whom, whose
from certify.stats.binomial import clopper_pearson_upper

__all__ = ["AbstainRate"]


@CONDITIONS.register("abstain_rate")
@dataclass(frozen=True, slots=True)
class AbstainRate(Condition):
    """The share of inputs on which the certifier abstained is at most a threshold.

    For these inputs that is a count. For the population it is the probability of abstaining on a random input, bounded
    above (Clopper and Pearson 1934).

    Args:
        at_most: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "abstain_rate"
    at_most: float
    of: str = THESE

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_most", fraction("at_most", self.at_most, least=False))
        of_whom(self.of)

    @property
    def statement(self) -> str | None:
        """One for the population; a count needs none."""
        return "abstain rate of the population" if self.of == POPULATION else None

    def title(self, case: Case) -> str:
        """Abstain rate, of whom."""
        return f"abstain rate {whose(self.of)} ({case.run.summary.threat.measure})"

    def judge(self, case: Case) -> Outcome:
        """Compare the count, or the upper end that it gives for a population."""
        summary, row = case.run.summary, case.run.summary.rows[0]
        rate = row.abstain / summary.n
        if self.of == THESE:
            return self.upper(case, rate, rate, self.at_most, holds="an exact count")
        if case.run.summary.rows[0].population_lower is None:
            return self.undecided(case, case.no_population(row.radius))
        end = clopper_pearson_upper(row.abstain, summary.n, case.share)
        return self.upper(case, rate, end, self.at_most, holds=case.with_confidence(case.drawn))
