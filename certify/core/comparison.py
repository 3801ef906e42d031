"""Release over release as data: what changed between a baseline and other runs on the same inputs.

Formats and plots register themselves in :data:`COMPARISON_FORMATS` and :data:`COMPARISON_PLOTS`, one file each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from certify.core.run import Run
from certify.registry import Registry

__all__ = ["COMPARISON_FORMATS", "COMPARISON_PLOTS", "Change", "Comparison", "Shift"]


@dataclass(frozen=True, slots=True)
class Change:
    """One run beside the baseline at one radius.

    Args:
        run: name of the run.
        radius: in input units.
        both, neither: how many inputs are right and certified under both, under neither.
        lost, gained: positions of the inputs that are under the baseline alone, under the run alone.
        lower, upper: limits of the difference, run less baseline, in the probability of being right and certified;
            None where the inputs can be no random sample.
        p_value: of "both are certified equally often" (McNemar's exact test); None where there are no limits.
        differs: whether that is rejected after Holm's correction over the whole comparison; None where there are none.
    """

    run: str
    radius: float
    both: int
    neither: int
    lost: tuple[int, ...]
    gained: tuple[int, ...]
    lower: float | None
    upper: float | None
    p_value: float | None
    differs: bool | None

    @property
    def n(self) -> int:
        """Number of inputs."""
        return self.both + self.neither + len(self.lost) + len(self.gained)

    @property
    def difference(self) -> float:
        """Certified accuracy of the run less that of the baseline."""
        return (len(self.gained) - len(self.lost)) / self.n

    @property
    def certified(self) -> tuple[float, float]:
        """Certified accuracy of the baseline and of the run."""
        return (self.both + len(self.lost)) / self.n, (self.both + len(self.gained)) / self.n


@dataclass(frozen=True, slots=True)
class Shift:
    """How certified radii changed, over the inputs that have one under the baseline and under the run.

    Args:
        run: name of the run.
        both: how many those are.
        mean, median: of the radius under the run less that under the baseline; None if there are none.
    """

    run: str
    both: int
    mean: float | None
    median: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Several runs on the same inputs; the first is the baseline.

    Args:
        runs: at least two.
        radii: those that every run reports.
        changes: one for each further run and radius, run by run.
        shifts: one for each further run.
        confidence: with which all limits hold at once.
        test: where they come from: ``"exact"`` or ``"tango"``.
        statement: what limits and marks mean, in words, or why there are none.
        notes: what else a reader has to know, such as runs that are about different functions.
    """

    runs: tuple[Run, ...]
    radii: tuple[float, ...]
    changes: tuple[Change, ...]
    shifts: tuple[Shift, ...]
    confidence: float
    test: str
    statement: str
    notes: tuple[str, ...]

    @property
    def baseline(self) -> Run:
        """The run that all others are compared with."""
        return self.runs[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "baseline": self.baseline.name,
            "threat": {**self.baseline.summary.threat.to_dict(), "radii": list(self.radii)},
            "n": self.baseline.summary.n,
            "confidence": self.confidence,
            "test": self.test,
            "runs": [
                {"name": one.name, "clean": one.summary.clean, "acr": one.summary.acr, "head": dict(one.summary.head)}
                for one in self.runs
            ],
            "changes": [{**asdict(one), "difference": one.difference} for one in self.changes],
            "shifts": [asdict(one) for one in self.shifts],
            "statement": self.statement,
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """The changes as a pandas DataFrame, one line for each run and radius; lost and gained are counts."""
        import pandas

        lines = [
            {**asdict(one), "lost": len(one.lost), "gained": len(one.gained), "difference": one.difference}
            for one in self.changes
        ]
        return pandas.DataFrame(lines).set_index(["run", "radius"])

    def render(self, format: str) -> str:
        """The comparison as text in a registered format: ``table``, ``json``, ``markdown``, ``html``."""
        return COMPARISON_FORMATS[format](self)

    def table(self) -> str:
        """The comparison as a plain text table."""
        return self.render("table")

    def plot(self, axes: Any = None, radius: float | None = None) -> Any:
        """Draw clean against certified accuracy at a radius, the largest common one if None; return the Axes.

        Raises:
            BadInput: for a radius that is none of the comparison's.
            MissingExtra: without matplotlib.
        """
        return COMPARISON_PLOTS["tradeoff"](self, self.radii[-1] if radius is None else radius, axes)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


COMPARISON_FORMATS: Registry[Callable[[Comparison], str]] = Registry("comparison format", package="certify.report")
COMPARISON_PLOTS: Registry[Callable[[Comparison, float, Any], Any]] = Registry(
    "comparison plot", package="certify.plots"
)
