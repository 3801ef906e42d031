"""A policy's demand on the certified pixels of a segmentation at a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from certify.gate.conditions.base import CONDITIONS, THESE, ShareAtRadius, Trial, subject_in_words
from certify.gate.outcome import ConditionOutcome

__all__ = ["CertifiedPixels"]


@CONDITIONS.register("certified_pixels")
@dataclass(frozen=True, slots=True)
class CertifiedPixels(ShareAtRadius):
    """The lower end of the mean share of pixels that keep their right class at a radius is at least a threshold.

    For these images it is the mean certified share less the images about which a claim may be false; for the population
    it is the bound on its mean share, at the smallest declared radius that is not below this one.

    Args:
        radius: in the run's input units.
        at_least: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    kind: ClassVar[str] = "certified_pixels"

    @property
    def statement(self) -> str:
        """One statement for all radii, since the bounds at all radii hold at once."""
        return f"certified pixels {subject_in_words(self.of)}, all radii"

    def title(self, trial: Trial) -> str:
        """The share of pixels, of which images and at which radius."""
        return f"certified pixels {subject_in_words(self.of)} at {trial.at(self.radius)}"

    def judge(self, trial: Trial) -> ConditionOutcome:
        """Compare the bound of the summary."""
        summary = trial.run.summary
        if not summary.property.by_pixel:
            return self.undecided(trial, f"the run is about {summary.property.kind}, not about the pixels of images")
        row = next((one for one in summary.pixels if one.radius == self.radius), None)
        if row is None:
            return self.undecided(
                trial, f"beyond the largest declared radius, {max(trial.declared):g}, nothing is tested"
            )
        if self.of == THESE:
            holds = trial.with_confidence("the sampling noise")
            return self.lower(trial, row.certified, row.certified_lower, self.at_least, holds=holds)
        if row.population_lower is None:
            return self.undecided(trial, trial.no_population(self.radius))
        return self.lower(
            trial, row.certified, row.population_lower, self.at_least, holds=trial.with_confidence(trial.drawn)
        )
