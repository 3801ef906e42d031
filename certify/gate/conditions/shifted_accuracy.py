"""A policy's demand on certified accuracy where the data are shifted by so much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from certify.core.rounding import brief
from certify.core.values import one_of
from certify.deployment.shift import GROUP_SHARES, shifted_lower
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, Condition, Trial, checked_radius, fraction
from certify.gate.outcome import ConditionOutcome
from certify.stats.shift import MEASURES
from certify.summary.pairing import no_sample

__all__ = ["ShiftedAccuracy"]


@CONDITIONS.register("shifted_accuracy")
@dataclass(frozen=True, slots=True)
class ShiftedAccuracy(Condition):
    """The certified accuracy guaranteed on every distribution that is so near the source of the inputs.

    Args:
        radius: in the run's input units.
        at_least: a fraction.
        amount: of shift, by the measure.
        measure: ``total_variation``, ``density_ratio``, ``kl``, ``chi2``; or ``group_shares``: only the shares of
            groups differ from those of these inputs, by that much in total variation.
        group: for ``group_shares``: ``label``, or a file beside the run: ``FILE.csv:COLUMN``, ``FILE.npz:ARRAY``.
    """

    kind: ClassVar[str] = "shifted_accuracy"
    radius: float
    at_least: float
    amount: float
    measure: str = "total_variation"
    group: str = "label"

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", checked_radius(self.radius))
        object.__setattr__(self, "at_least", fraction("at_least", self.at_least, least=True))
        one_of("measure", self.measure, (*MEASURES, GROUP_SHARES))
        named = "total_variation" if self.measure == GROUP_SHARES else self.measure
        object.__setattr__(self, "amount", MEASURES[named].amount(self.amount))
        given: Any = self.group
        if not isinstance(given, str) or not given:
            raise BadInput(f"group must be label, FILE.csv:COLUMN or FILE.npz:ARRAY, got {given!r}")

    @property
    @override
    def radii(self) -> tuple[float, ...]:
        return (self.radius,)

    @property
    def statement(self) -> str:
        """One for all radii, measures and amounts: they follow from the same bounds. One for each kind of group."""
        if self.measure == GROUP_SHARES:
            return f"certified accuracy of each {self.group}, all groups and radii"
        return "certified accuracy of the source of the inputs, all radii"

    def title(self, trial: Trial) -> str:
        """The certified accuracy, at which radius and under which shift."""
        said = f"shares of {self.group}" if self.measure == GROUP_SHARES else MEASURES[self.measure].title
        return f"certified accuracy at {trial.at(self.radius)}, under a shift of {brief(self.amount)} ({said})"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the guaranteed accuracy with the threshold."""
        row = trial.row(self.radius)
        if no_sample(trial.run) or row.population_lower is None:
            return self.undecided(trial, trial.no_population(self.radius))
        if self.measure == GROUP_SHARES and self.group == "label" and trial.run.context.get("num_classes") is None:
            said = "the manifest does not say how many classes there are, and one without an input may have any share"
            return self.undecided(trial, said)
        end = shifted_lower(trial.run, self.radius, self.measure, self.amount, trial.share, self.group)
        return self.lower(
            trial,
            row.certified,
            end,
            self.at_least,
            holds=f"{trial.with_confidence(trial.drawn)}; that data shift by no more is assumed",
        )
