"""A policy's demand that a run is not worse than an earlier one by more than a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from certify.core.values import number, one_of
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, Condition, Trial, checked_radius
from certify.gate.outcome import ConditionOutcome
from certify.summary.pairing import PAIRED_TESTS, no_sample, paired

__all__ = ["NonInferior"]


@CONDITIONS.register("non_inferior")
@dataclass(frozen=True, slots=True)
class NonInferior(Condition):
    """A random input is certified with a probability that is less than a margin below the baseline's.

    The two runs are joined input by input. What is compared is the lower limit of the difference. It is about inputs
    that were drawn at random: where these cannot have been, nothing is decided.

    Args:
        radius: in the runs' input units.
        margin: a fraction: 0.02 allows two percentage points.
        test: ``"exact"``, or ``"tango"``, which finds more; neither exceeds its share (``certify/stats/paired.py``).
    """

    kind: ClassVar[str] = "non_inferior"
    radius: float
    margin: float
    test: str = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", checked_radius(self.radius))
        object.__setattr__(self, "margin", number("margin", self.margin))
        if not 0 < self.margin < 1:
            raise BadInput(f"margin must be a fraction above 0 and below 1 (2 points are 0.02), got {self.margin:g}")
        one_of("test", self.test, PAIRED_TESTS)

    @property
    @override
    def radii(self) -> tuple[float, ...]:
        return (self.radius,)

    @property
    def statement(self) -> str:
        """A limit holds for every margin at once, so it is one statement for each radius and test."""
        return f"difference from the baseline at {self.radius!r}, {self.test} test"

    @property
    @override
    def needs_baseline(self) -> bool:
        return True

    def title(self, trial: Trial) -> str:
        """The difference of certified accuracy from the baseline, and at which radius."""
        named = "the baseline" if trial.baseline is None else trial.baseline.name
        return f"certified accuracy less that of {named} at {trial.at(self.radius)}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the lower limit of the paired difference with the margin."""
        if trial.baseline is None:
            return self.undecided(trial, "no baseline was named")
        if why := no_sample(trial.baseline, trial.run):
            return self.undecided(trial, why)
        counts = paired(trial.baseline, trial.run, self.radius)
        found = PAIRED_TESTS[self.test](counts, self.margin, trial.share)
        return self.lower(
            trial,
            counts.difference,
            found.lower,
            -self.margin,
            unit="pp",
            holds=trial.with_confidence(f"{trial.drawn} of both runs"),
            reason=(
                f"{self.test} test; certified by the baseline alone {counts.n10}, by this run alone {counts.n01}, "
                f"by both {counts.n11}"
            ),
        )
