"""Prediction sets of inputs and what is promised about them, as data. Needs no torch.

Formats and plots register themselves in :data:`SET_FORMATS` and :data:`SET_PLOTS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from certify.core.threats.base import Threat
from certify.registry import Registry

__all__ = ["SETS", "SET_FORMATS", "SET_PLOTS", "InputSets", "PredictionSets", "SetRow", "set_row"]

SETS: Final = "certify prediction sets, version 1"
"""What a record of prediction sets says that it is."""


@dataclass(frozen=True, slots=True)
class SetRow:
    """Sets of all inputs at one radius; shares are of all inputs.

    Args:
        radius: within which every change is allowed for.
        size: average number of classes in a set.
        empty, single: shares of sets without any class, and with one.
        covered: share of sets that hold the label; None without labels.
        attacked: the same for the sets of the changed inputs that the attack found; None where there was none.
        plain_proven: share of inputs whose *plain* set holds the label under every change, proven; None without proof.
        plain_attacked: share of plain sets that hold the label at the changed inputs; None where there was no attack.
    """

    radius: float
    size: float
    empty: float
    single: float
    covered: float | None
    attacked: float | None = None
    plain_proven: float | None = None
    plain_attacked: float | None = None


@dataclass(frozen=True, slots=True)
class InputSets:
    """The sets of one input.

    Args:
        index: its position in its data.
        input_digest: what pins its values.
        label: the true class; None where it is not known.
        plain: the classes of the plain conformal set, which allows for no change.
        sets: one for each radius.
    """

    index: int
    input_digest: str
    label: int | None
    plain: tuple[int, ...]
    sets: tuple[tuple[int, ...], ...]


def set_row(radius: float, sets: Sequence[Sequence[int]], labels: Sequence[int | None], **more: float | None) -> SetRow:
    """The row of sets at one radius.

    >>> set_row(0.1, [(0,), (), (0, 1)], [0, 0, 0]).covered
    0.6666666666666666
    """
    n, sizes = len(sets), [len(one) for one in sets]
    known = all(label is not None for label in labels)
    covered = sum(label in one for label, one in zip(labels, sets, strict=True)) / n if known else None
    return SetRow(radius, sum(sizes) / n, sizes.count(0) / n, sizes.count(1) / n, covered, **more)


@dataclass(frozen=True, slots=True, eq=False)
class PredictionSets:
    """Prediction sets whose coverage holds under every change within a radius, beside plain conformal sets.

    Args:
        coverage: what is promised.
        threat: what may change; its radii are those of the rows.
        method: the bound methods, or the noise, by which scores are bounded.
        score: the nonconformity score.
        threshold: a class is in the set where its least score within the radius may be at most this.
        rank: which of the ascending calibration scores that is; above their number, the threshold is infinite.
        paid: share of new inputs for which bounds of scores may be wrong, as a fraction; the rank allows for it.
        scores: of the calibration inputs, in their order: upper ends.
        given: a coverage that all but a share ``delta`` of such calibration sets give.
        delta: that share.
        plain: the row of the plain sets.
        rows: one for each radius.
        inputs: the sets of each input.
        proven: share of inputs whose sets hold their label under every change, whatever the radius; None without proof.
        contradictions: positions of inputs whose set under attack lacks the label although that is proven impossible.
        pinned: what the sets were computed from: digests, seeds and settings.
        head: model and data by name, for the head of tables.
        statement: what is promised, a sentence each.
        notes: what else a reader has to know.
    """

    coverage: float
    threat: Threat
    method: str
    score: str
    threshold: float
    rank: int
    paid: str
    scores: tuple[float, ...]
    given: float
    delta: float
    plain: SetRow
    rows: tuple[SetRow, ...]
    inputs: tuple[InputSets, ...]
    proven: float | None
    contradictions: tuple[int, ...]
    pinned: Mapping[str, Any]
    head: Mapping[str, str]
    statement: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The record: plain values for JSON, from which somebody else computes everything again; null is infinite."""
        return {
            "format": SETS,
            "coverage": self.coverage,
            "threat": self.threat.to_dict(),
            "method": self.method,
            "score": self.score,
            "threshold": _plain(self.threshold),
            "rank": self.rank,
            "paid": self.paid,
            "calibration": [_plain(score) for score in self.scores],
            "given": self.given,
            "delta": self.delta,
            "plain": asdict(self.plain),
            "rows": [asdict(row) for row in self.rows],
            "inputs": [asdict(one) for one in self.inputs],
            "proven": self.proven,
            "contradictions": list(self.contradictions),
            **self.pinned,
            "statement": list(self.statement),
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame by radius."""
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.rows]).set_index("radius")

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``markdown``, ``html``, ``latex``, ``json``."""
        return SET_FORMATS[format](self)

    def table(self) -> str:
        """As a plain text table."""
        return self.render("table")

    def plot(self, axes: Any = None, kind: str = "coverage") -> Any:
        """Draw coverage (``coverage``) or average sizes (``size``) over the radius; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return SET_PLOTS[kind](self, axes)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


SET_FORMATS: Registry[Callable[[PredictionSets], str]] = Registry("set format", package="certify.report")
SET_PLOTS: Registry[Callable[[PredictionSets, Any], Any]] = Registry("set plot", package="certify.plots")
