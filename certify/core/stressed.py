"""Edge cases of a model, how fast it falls under corruptions, and what it costs under load, as data. Needs no torch.

Formats register themselves in :data:`STRESS_FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from certify.core.corrupted import Inside
from certify.registry import Registry

__all__ = ["INVALID_INPUT", "STRESSED", "STRESS_FORMATS", "EdgeCase", "Fall", "Load", "Stressed"]

STRESSED: Final = "certify stress, version 1"
"""What a record of a stress test says that it is."""

INVALID_INPUT: Final = "invalid"
"""What a person writes in place of an expected label where no class is right: such a case is left out."""


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """An input at which the model is easily wrong, with an expected label for people to fill in.

    Args:
        row: its row in the file of inputs.
        digest: SHA-256 of its values.
        kind: where it comes from: ``"between"`` two inputs, a ``"transform"``, a ``"corner"`` of the input box, or a
            rare ``"group"``.
        source: the same in words.
        parents: positions of the inputs that it was made from.
        measure: what its kind is ranked by, the smallest first.
        margin: first score less second of the model there.
        prediction: what the certified model answers there now; None for nothing.
        expected: the right class, left empty: people know it, and no search does.
    """

    row: int
    digest: str
    kind: str
    source: str
    parents: tuple[int, ...]
    measure: float
    margin: float
    prediction: int | None
    expected: int | str | None = None


@dataclass(frozen=True, slots=True)
class Fall:
    """The steepest fall of accuracy between two neighbouring strengths of a corruption, beside the whole fall.

    Args:
        corruption: its name.
        amounts: the two strengths, in words.
        step: how much accuracy falls between them.
        step_lower, step_upper: the interval of that.
        share: which part of all strengths lies between them.
        whole: how much accuracy falls from no corruption to severity 5.
        whole_lower, whole_upper: the interval of that.
        shape: ``"sudden"``, ``"graceful"``, ``"flat"`` or ``"open"``.
    """

    corruption: str
    amounts: tuple[str, str]
    step: float
    step_lower: float
    step_upper: float
    share: float
    whole: float
    whole_lower: float
    whole_upper: float
    shape: str


@dataclass(frozen=True, slots=True)
class Load:
    """What batches of one size took on the machine at hand: measured, and no statement about anything else.

    Args:
        batch: inputs of a batch.
        repeats: batches that were timed.
        p50, p95, p99: milliseconds for a batch, of the wall clock.
        per_second: inputs in a second, at the median.
        peak: bytes of memory at most, of the process or of the accelerator; None where the system does not say.
    """

    batch: int
    repeats: int
    p50: float
    p95: float
    p99: float
    per_second: float
    peak: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Stressed:
    """Edge cases, falls, and costs.

    Args:
        cases: ranked.
        found: how many each kind had before the best of each were taken.
        falls: one for each corruption.
        confidence: with which all intervals of the falls hold at once.
        contradictions: certified inputs that a corruption broke inside their radius.
        load: costs, by size of the batch; empty unless asked for.
        machine: what the costs were measured on.
        inputs: name of the file of inputs, which lies beside the record.
        num_classes, input_box: of the inputs, as plain values.
        pinned: what it was computed from.
        head: model and data by name.
        statement: what is promised, a sentence each.
    """

    cases: tuple[EdgeCase, ...]
    found: Mapping[str, int]
    falls: tuple[Fall, ...]
    confidence: float
    contradictions: tuple[Inside, ...]
    load: tuple[Load, ...]
    machine: str
    inputs: str
    num_classes: int
    input_box: Any
    pinned: Mapping[str, Any]
    head: Mapping[str, str]
    statement: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record: plain values for JSON."""
        return {
            "format": STRESSED,
            "inputs": self.inputs,
            "num_classes": self.num_classes,
            "input_box": self.input_box,
            "cases": [asdict(one) for one in self.cases],
            "found": dict(self.found),
            "falls": [asdict(one) for one in self.falls],
            "confidence": self.confidence,
            "contradictions": [asdict(one) for one in self.contradictions],
            **self.pinned,
            "head": dict(self.head),
            "statement": list(self.statement),
            "load": [asdict(one) for one in self.load],
            "machine": self.machine,
        }

    def to_frame(self) -> Any:
        """The cases as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame([asdict(one) for one in self.cases])

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``json``, ``markdown``, ``html``, ``latex``."""
        return STRESS_FORMATS[format](self)

    def table(self) -> str:
        """As plain text tables."""
        return self.render("table")

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


STRESS_FORMATS: Registry[Callable[[Stressed], str]] = Registry("stress format", package="certify.report")
