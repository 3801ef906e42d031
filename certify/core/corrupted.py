"""Accuracy under corruptions beside what is certified, as data. Needs no torch.

Formats and plots register themselves in :data:`CORRUPT_FORMATS` and :data:`CORRUPT_PLOTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from certify.registry import Registry

__all__ = ["CORRUPTED", "CORRUPT_FORMATS", "CORRUPT_PLOTS", "BesideRun", "Corrupted", "CorruptedRow", "Inside"]

CORRUPTED: Final = "certify corruptions, version 1"
"""What a record of corruptions says that it is."""


@dataclass(frozen=True, slots=True)
class CorruptedRow:
    """All inputs under one corruption of one severity.

    Args:
        corruption: its registered name.
        severity: 1 to 5; 0 for the inputs themselves.
        strength: what that means, in units of the corruption.
        amount: the same in words.
        right: inputs that are predicted correctly.
        accuracy: the same as a share of all inputs.
        lower, upper: an interval for the accuracy on new inputs; all rows of a table hold at once.
        certified: for each run, the share of inputs that are right and certified as far as their own corruption lies
            from them; None where the run's threat does not reach such changes at all.
        missed: positions of the inputs that are not predicted correctly.
    """

    corruption: str
    severity: int
    strength: float
    amount: str
    right: int
    accuracy: float
    lower: float
    upper: float
    certified: tuple[float | None, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BesideRun:
    """A run whose certificates stand beside the accuracy.

    Args:
        name: what tables call it.
        threat: what its certificates are about, in words.
        alpha: probability with which one of its certificates is false; None for proofs.
        axes: corruptions that are the transform of its threat: their strength is a radius.
        complete: whether all its inputs were attempted.
    """

    name: str
    threat: str
    alpha: float | None
    axes: tuple[str, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Inside:
    """A certified input that is misclassified inside its certified radius: a contradiction.

    Args:
        run: whose certificate it is.
        index: position of the input.
        corruption, severity: of the changed input.
        distance: how far that is from the input, rounded up.
        radius: which is certified.
        label: the true class.
        prediction: what the certified model answers about the changed input.
    """

    run: str
    index: int
    corruption: str
    severity: int
    distance: float
    radius: float
    label: int
    prediction: int | None

    def __str__(self) -> str:
        return (
            f"input {self.index} is certified up to {self.radius:g} by {self.run}, and answered with class "
            f"{self.prediction}, not {self.label}, under {self.corruption} of severity {self.severity}, at a distance "
            f"of {self.distance:g}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Corrupted:
    """Accuracy by corruption and severity, with intervals that hold at once, beside certified accuracy.

    Args:
        n: inputs.
        confidence: with which all intervals hold at once.
        runs: whose certificates stand beside the accuracy.
        rows: the first one is about the inputs themselves.
        contradictions: certified inputs that are misclassified inside their radius.
        pinned: what it was computed from: digests, seed and settings.
        head: model and data by name, for the head of tables.
        statement: what is promised, a sentence each.
        notes: what else a reader has to know.
    """

    n: int
    confidence: float
    runs: tuple[BesideRun, ...]
    rows: tuple[CorruptedRow, ...]
    contradictions: tuple[Inside, ...]
    pinned: Mapping[str, Any]
    head: Mapping[str, str]
    statement: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Their names, in the order of the rows."""
        return tuple(dict.fromkeys(row.corruption for row in self.rows if row.severity))

    @property
    def clean(self) -> CorruptedRow:
        """The row of the inputs themselves."""
        return self.rows[0]

    def of(self, corruption: str) -> tuple[CorruptedRow, ...]:
        """The rows of a corruption by severity, behind that of the inputs themselves."""
        return (self.clean, *(row for row in self.rows if row.corruption == corruption and row.severity))

    def to_dict(self) -> dict[str, Any]:
        """The record: plain values for JSON."""
        return {
            "format": CORRUPTED,
            "n": self.n,
            "confidence": self.confidence,
            "runs": [asdict(run) for run in self.runs],
            "rows": [asdict(row) for row in self.rows],
            "contradictions": [asdict(one) for one in self.contradictions],
            **self.pinned,
            "head": dict(self.head),
            "statement": list(self.statement),
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame, with the certified accuracy of each run by its name."""
        import pandas

        lines = []
        for row in self.rows:
            line = asdict(row)
            del line["missed"], line["certified"]
            beside = zip(self.runs, row.certified, strict=True)
            lines.append(line | {f"certified {run.name}": share for run, share in beside})
        return pandas.DataFrame(lines)

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``json``, ``markdown``, ``html``, ``latex``."""
        return CORRUPT_FORMATS[format](self)

    def table(self) -> str:
        """As a plain text table."""
        return self.render("table")

    def plot(self, axes: Any = None, corruption: str | None = None) -> Any:
        """Draw accuracy by severity, or over the strength of one corruption; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return CORRUPT_PLOTS["accuracy"](self, axes, corruption)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


CORRUPT_FORMATS: Registry[Callable[[Corrupted], str]] = Registry("corruption format", package="certify.report")
CORRUPT_PLOTS: Registry[Callable[..., Any]] = Registry("corruption plot", package="certify.plots")
