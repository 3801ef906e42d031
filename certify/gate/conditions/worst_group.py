"""A policy's demand on the certified accuracy of the worst group at a radius."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, THESE, ShareAtRadius, Trial, subject_in_words
from certify.gate.outcome import ConditionOutcome
from certify.stats.groups import worst_group_lower
from certify.summary.group_columns import group_column, groups_of, groups_without_inputs, in_order, whole_size
from certify.summary.pairing import is_certified

__all__ = ["WorstGroup"]


@CONDITIONS.register("worst_group")
@dataclass(frozen=True, slots=True)
class WorstGroup(ShareAtRadius):
    """The lower end of the certified accuracy of the worst group is at least a threshold.

    For these inputs it rests on the statement about all of them: whichever certificates are false, they may all lie in
    one group, so each group counts its certified inputs minus that number, and the lowest group is named. For the
    population it is the least of the groups' uncorrected bounds, a statement of its own that names no group. It is
    about groups with inputs: where the classes, or the file, name one that has none, nothing is decided.

    Args:
        radius: in the run's input units.
        at_least: a fraction.
        group: ``"label"`` for the true class, or a file beside the run: ``"FILE.csv:COLUMN"``, ``"FILE.npz:ARRAY"``, or
            with slices that may overlap ``"slices:FILE.csv"``.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "worst_group"
    group: str = "label"

    def __post_init__(self) -> None:
        ShareAtRadius.__post_init__(self)
        if not isinstance(self.group, str) or not self.group:
            raise BadInput(f"group must be label, FILE.csv:COLUMN or FILE.npz:ARRAY, got {self.group!r}")

    @property
    def statement(self) -> str:
        """For these inputs it is the statement that certified accuracy rests on; for the population, one of its own."""
        if self.of == THESE:
            return f"certified accuracy {subject_in_words(THESE)}, all radii"
        return f"worst {self.group} of the population at {self.radius!r}"

    def title(self, trial: Trial) -> str:
        """The worst group, of which inputs and at which radius."""
        return f"certified accuracy of the worst {self.group} {subject_in_words(self.of)} at {trial.at(self.radius)}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the least of the groups' lower ends."""
        counts, absent, alpha = *self._counts(trial), trial.run.summary.guarantee.alpha
        group, (certified, n) = min(counts.items(), key=lambda one: one[1][0] / one[1][1])
        named = f"lowest observed: {group}, {certified} of {n} inputs, out of {len(counts)} groups"
        if self.of == THESE:
            row = trial.row(self.radius)
            false = int(is_certified(trial.run, self.radius).sum()) - round(row.certified_lower * trial.run.summary.n)
            end = min(max(0, k - false) / n for k, n in counts.values())
            holds = "with certainty: proofs" if alpha is None else trial.with_confidence("the sampling noise")
        else:
            if trial.row(self.radius).population_lower is None:
                return self.undecided(trial, trial.no_population(self.radius))
            if self.group == "label" and trial.run.context.get("num_classes") is None:
                said = "the manifest does not say how many classes there are, and one without an input may be the worst"
                return self.undecided(trial, said)
            if absent:
                return self.undecided(
                    trial, f"no input of {self.group} {', '.join(absent)} is here: its lower end is 0"
                )
            end = worst_group_lower(counts, alpha, trial.share)
            holds = trial.with_confidence(trial.drawn) + f", for the {len(counts)} groups of these inputs"
        return self.lower(trial, certified / n, end, self.at_least, holds=holds, reason=named)

    def _counts(self, trial: Trial) -> tuple[dict[Any, tuple[int, int]], list[str]]:
        """(certified, n) of each group, in the order in which the groups appear; and known groups without an input."""
        layers = trial.run.summary.sandwich
        name, of = group_column(self.group, layers, whole_size(trial.run.settings["data"]))
        positions = layers.index.tolist()
        absent = groups_without_inputs(
            of, positions, trial.run.context.get("num_classes") if self.group == "label" else None
        )
        given = [groups_of(one) for one in in_order(name, of, positions)]
        held = zip(given, is_certified(trial.run, self.radius), strict=True)
        certified = Counter(group for groups, yes in held if yes for group in groups)
        sizes = Counter(group for groups in given for group in groups)
        if not sizes:
            raise BadInput(f"no input here is in any {name} of {self.group}: there is no worst one")
        return {group: (certified[group], n) for group, n in sizes.items()}, absent
