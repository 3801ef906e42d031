"""The life of a certificate after release: what a monitor writes down, and what follows from it. Needs no torch.

A monitor's file begins with a :class:`Header`; then comes one :class:`Event` after the other. Formats and drawings
register themselves in :data:`MONITOR_FORMATS` and :data:`~certify.core.shown.DRAWINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from certify.registry import Registry

__all__ = [
    "MONITOR",
    "MONITOR_FORMATS",
    "RISKS",
    "SCORES",
    "Alarm",
    "Columns",
    "Event",
    "Force",
    "Header",
    "Late",
    "MonitorReport",
    "Moved",
    "ProcessReport",
    "Row",
    "Watched",
]

MONITOR: Final = "certify monitor, version 1"
"""What the file of a monitor says that it is."""

RISKS: Final = ("error", "certified")
"""What is watched with labels: wrong answers; and answers that are wrong or not certified at the stated radius."""

SCORES: Final = ("margin", "p_A", "radius")
"""What is watched without labels: top score less the next one, the share of votes for the class, a quick radius."""


class Force(Enum):
    """What a certificate is still worth."""

    IN_FORCE = "in force"
    IN_DOUBT = "in doubt"
    EXPIRED = "expired"

    @property
    def sentence(self) -> str:
        """What it means."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Force.IN_FORCE: "No alarm: nothing seen so far contradicts that the run speaks for this stream.",
    Force.IN_DOUBT: "The inputs are no longer like those of the run, so that its figures need not hold for them; that "
    "the risk is above its tolerance is not shown.",
    Force.EXPIRED: "The risk on this stream is above its tolerance: the run no longer speaks for it.",
}


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process, as it was set up.

    Args:
        alpha: probability with which it may ever raise a false alarm.
        tolerance: the largest risk that is no alarm; None for scores.
        stated: whether somebody stated that tolerance; otherwise it is the upper confidence limit from the run.
        failures, inputs: of the run's inputs, how many failed, and how many there are.
        scores: of the run's inputs, in their order; empty for risks. None stands for NaN.
    """

    alpha: float
    tolerance: float | None
    stated: bool
    failures: int
    inputs: int
    scores: tuple[float | None, ...]


class Header(msgspec.Struct, tag="monitor", frozen=True, forbid_unknown_fields=True):
    """What a monitor is about.

    Args:
        format: :data:`MONITOR`.
        run: digest of the run's settings.
        model, data: digests.
        threat: what inputs may change by, as a record.
        certifier: the settings of the certifier that looks at inputs of the stream.
        classes, features: of the model, and of one input.
        radius: the stated radius, at which an answer should be certified.
        alpha: probability with which any process ever raises a false alarm.
        delta: probability with which a tolerance that was taken from the run is below its true risk.
        group: what inputs are grouped by; empty for nothing.
        watched: the processes by name; a risk in one group is called ``error in GROUP``.
    """

    format: str
    run: str
    model: str
    data: str
    threat: dict[str, Any]
    certifier: dict[str, Any]
    classes: int
    features: int
    radius: float
    alpha: float
    delta: float
    group: str
    watched: dict[str, Watched]


class Columns(msgspec.Struct, tag="columns", frozen=True, forbid_unknown_fields=True):
    """The columns of the stream, written down when it was first read."""

    columns: tuple[str, ...]


class Row(msgspec.Struct, tag="row", frozen=True, forbid_unknown_fields=True):
    """One input of the stream.

    Args:
        id: what it is called.
        digest: of its values.
        prediction: the class; None where the model has no answer.
        radius: the certified radius; None where nothing is certified.
        read: whether neither the input nor what the model answers is NaN.
        scores: by name; None for NaN.
        group, time, label: None where they are not known.
        log_e: natural logarithm of each e-process that this row moved, after it.
    """

    id: str
    digest: str
    prediction: int | None
    radius: float | None
    read: bool
    scores: dict[str, float | None]
    group: str | None
    time: str | None
    label: int | None
    log_e: dict[str, float]


class Late(msgspec.Struct, tag="label", frozen=True, forbid_unknown_fields=True):
    """A label that arrived after its input."""

    id: str
    time: str | None
    label: int
    log_e: dict[str, float]


Event = Columns | Row | Late


@dataclass(frozen=True, slots=True)
class Alarm:
    """When a process passed its threshold for the first time.

    Args:
        rows: inputs of the stream up to then.
        time: of the row or label that did it; None where the stream has no times.
    """

    rows: int
    time: str | None


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process now.

    Args:
        name: what is watched.
        hypothesis: what is assumed until an alarm, in words.
        alpha: probability with which it ever raises a false alarm.
        tolerance: of a risk; None for scores.
        observed: losses or scores so far.
        failures: of the losses, how many are 1; of the scores, how many are NaN.
        log_e: natural logarithm of the e-value now, and of the largest so far.
        peak: that largest one.
        threshold: what ``log_e`` has to exceed for an alarm.
        alarm: when it did; None if it never did.
        since: rows, or of a risk labels, before the estimated change: where the evidence was last near its least.
        series: (rows, log_e), thinned out for a drawing.
    """

    name: str
    hypothesis: str
    alpha: float
    tolerance: float | None
    observed: int
    failures: int
    log_e: float
    peak: float
    threshold: float
    alarm: Alarm | None
    since: int
    series: tuple[tuple[int, float], ...] = ()

    @property
    def risk(self) -> bool:
        """Whether it is about losses, and not about scores."""
        return self.tolerance is not None


@dataclass(frozen=True, slots=True)
class Moved:
    """An input of the stream to certify again first.

    Args:
        id, row: what it is called, and its place in the stream, from 1.
        process: which process it moved.
        why: in words.
    """

    id: str
    row: int
    process: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class MonitorReport:
    """What a monitor says now.

    Args:
        run: the name of the run.
        force: in force, in doubt or expired.
        processes: each with its evidence.
        rows, labels, unread: inputs so far; how many have a label; how many hold NaN, so that nobody can read them.
        moved: what to certify again first.
        head: model, data, threat and certifier in words.
        statement: what is promised, a sentence each.
        chain: SHA-256 over all that was written down, in order: who notes it can tell an edited file.
    """

    run: str
    force: Force
    processes: tuple[ProcessReport, ...]
    rows: int
    labels: int
    unread: int
    moved: tuple[Moved, ...]
    head: Mapping[str, str]
    statement: tuple[str, ...]
    chain: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": MONITOR,
            "run": self.run,
            "state": self.force.value,
            "meaning": self.force.sentence,
            "rows": self.rows,
            "labels": self.labels,
            "unread": self.unread,
            "processes": [asdict(one) for one in self.processes],
            "moved": [asdict(one) for one in self.moved],
            "head": dict(self.head),
            "statement": list(self.statement),
            "chain": self.chain,
        }

    def table(self) -> str:
        """As a plain text table."""
        return MONITOR_FORMATS["table"](self)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"MonitorReport({self.force.value}, {self.rows:,} rows, {self.labels:,} labels)"

    def _repr_html_(self) -> str:
        return MONITOR_FORMATS["html"](self)


MONITOR_FORMATS: Registry[Callable[[MonitorReport], str]] = Registry("monitor format", package="certify.report")
