"""The life of a certificate, derived from the events that a monitor wrote down: e-values, alarms, and its state."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.monitoring import (
    MONITOR,
    RISKS,
    SCORES,
    Alarm,
    Columns,
    Event,
    Force,
    Header,
    Late,
    Moved,
    ProcessReport,
    Row,
    Watched,
)
from certify.core.rounding import brief
from certify.core.threats.base import threat_from
from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_upper
from certify.stats.e_processes import (
    RISES,
    SLOPES,
    Capital,
    is_tolerance,
    log_threshold,
    rank_factors,
    risk_factors,
    smoothed_p,
    uniform,
)

__all__ = ["Life", "header_fault", "in_group", "instant", "level", "tolerance_of"]

DRAWN: Final = 400
"""Points of a drawn curve at most."""

SHOWN: Final = 20
"""Inputs to certify again that a report names for each process."""

NEAR: Final = 1.0
"""What is above the least logarithm of an e-process by no more is no beginning of a rise yet."""

_GROUP: Final = "error in "


def in_group(group: str) -> str:
    """What the error in a group is called."""
    return _GROUP + group


def level(alpha: float, processes: int) -> float:
    """What each of several processes may spend, so that together they spend no more than alpha.

    Whatever the processes have to do with each other, the probability that any of them ever raises a false alarm is at
    most the sum of theirs.

    >>> level(0.06, 3) <= 0.02
    True
    """
    return math.nextafter(alpha / processes, 0.0)


def tolerance_of(failures: int, inputs: int, delta: float, risks: int) -> float:
    """The upper confidence limit of a risk, of which ``risks`` together are too low with probability ``delta``.

    >>> round(tolerance_of(30, 1000, 0.05, 2), 4)
    0.0426
    """
    return clopper_pearson_upper(failures, inputs, level(delta, risks))


def instant(text: str) -> float:
    """Seconds since 1970, or the number that a time is; a date without a time zone counts as UTC.

    Raises:
        ValueError: for anything else.

    >>> instant("1970-01-02"), instant("17.5")
    (86400.0, 17.5)
    """
    try:
        value = float(text)
    except ValueError:
        try:
            given = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(f"time {text[:40]!r} is no number and no ISO 8601 date") from None
        value = (given if given.tzinfo is not None else given.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise ValueError(f"time {text[:40]!r} is no time")
    return value


def header_fault(header: Header) -> str:
    """What cannot be in a header, in words; empty where all of it follows from the rest."""
    if header.format != MONITOR:
        return f"its format is {header.format!r:.40}"
    if not (0 < header.alpha < 1 and 0 < header.delta < 1 and header.watched):
        return "alpha and delta lie between 0 and 1, and something is watched"
    if not (header.classes >= 2 and 0 <= header.radius < math.inf):
        return "there are two classes at least, and a radius is a number from 0"
    try:
        threat_from(header.threat)
    except (BadInput, LookupError, TypeError, ValueError) as problem:
        return f"its threat is none ({problem})"
    risks = [one for one in header.watched.values() if one.tolerance is not None]
    for name, one in header.watched.items():
        if one.alpha != level(header.alpha, len(header.watched)) or not one.alpha:
            return f"{name} may spend {one.alpha:g}, and not its part of alpha"
        risk = name in RISKS or name.startswith(_GROUP)
        if (one.tolerance is None and name not in SCORES) or (one.tolerance is not None and not risk):
            return f"{name} is watched in another way"
        if one.tolerance is None:
            if (
                one.stated
                or one.failures
                or len(one.scores) != one.inputs
                or any(not math.isfinite(score) for score in one.scores if score is not None)
            ):
                return f"{name} has other scores than inputs"
        elif not is_tolerance(one.tolerance) or one.scores or not 0 <= one.failures <= one.inputs:
            return f"the tolerance of {name} is no risk"
        elif not one.stated and one.tolerance != tolerance_of(one.failures, one.inputs, header.delta, len(risks)):
            return f"the tolerance of {name} is not the upper limit of {one.failures} in {one.inputs}"
    return ""


@dataclass(slots=True)
class _Process:
    """One process while it runs."""

    name: str
    watched: Watched
    capital: Capital
    seen: list[float]
    failures: int = 0
    alarm: Alarm | None = None
    peak: float = 0.0
    least: float = 0.0
    since: int = 0
    series: list[tuple[int, float]] = field(default_factory=lambda: [(0, 0.0)])

    @classmethod
    def of(cls, name: str, watched: Watched) -> _Process:
        bets = len(SLOPES if watched.tolerance is None else RISES)
        return cls(name, watched, Capital.of(bets), sorted(map(_ranked, watched.scores)))

    @property
    def log_e(self) -> float:
        return float(self.capital.log_e)

    @property
    def threshold(self) -> float:
        return log_threshold(self.watched.alpha, self.capital.steps)

    def move(self, factors: NDArray[np.float64], rows: int, time: str | None, mark: int) -> None:
        """Take in one observation: ``mark`` counts rows for scores, and labels for risks."""
        self.capital = self.capital.after(factors)
        now = self.log_e
        self.series.append((rows, now))
        self.peak = max(self.peak, now)
        if self.alarm is None:
            self.least = min(self.least, now)
            if now <= self.least + NEAR:
                self.since = mark
            if now > self.threshold:
                self.alarm = Alarm(rows, time)

    def hypothesis(self, header: Header) -> str:
        if self.watched.tolerance is None:
            return (
                f"the {_NAMED[self.name]} of the run's {self.watched.inputs:,} inputs and of the stream come in an "
                "order as good as any other"
            )
        share = f"at most {brief(self.watched.tolerance)}, given the losses before"
        if self.name == "certified":
            return f"an answer is wrong or not certified at {header.radius:g} with probability {share}"
        where = "" if self.name == "error" else f" in group {self.name.removeprefix(_GROUP)}"
        return f"an answer{where} is wrong with probability {share}"


_NAMED: Final = {"margin": "margins", "p_A": "shares of votes", "radius": "quick radii"}


@dataclass(slots=True)
class _Seen:
    """What is kept of a row; ``settled`` counts the labels up to its own."""

    place: int
    row: Row
    p: dict[str, float]
    label: int | None = None
    settled: int = 0


class Life:
    """E-values and state of a monitor after the events so far; each event moves it on.

    Labels move the processes in the order in which they arrive, and a bet depends on earlier events alone: nobody looks
    ahead.

    Args:
        header: what is watched.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.columns: tuple[str, ...] | None = None
        self._now: tuple[float, str] | None = None
        self._processes = {name: _Process.of(name, one) for name, one in header.watched.items()}
        self._rows: dict[str, _Seen] = {}
        self._labels = self._unread = 0

    @property
    def rows(self) -> int:
        """Inputs so far."""
        return len(self._rows)

    @property
    def labels(self) -> int:
        """How many of them have a label."""
        return self._labels

    @property
    def unread(self) -> int:
        """How many of them hold NaN, or the model answers with it."""
        return self._unread

    def known(self, id: str) -> tuple[str, int | None] | None:
        """Digest and label of the row of that name; None if there is none, or no label yet."""
        seen = self._rows.get(id)
        return None if seen is None else (seen.row.digest, seen.label)

    @property
    def wants_group(self) -> bool:
        """Whether each row has to name its group."""
        return self.header.group not in ("", "label")

    def fault(self, event: Event) -> str:
        """Why an event cannot follow those so far, in words; empty where it can."""
        if isinstance(event, Columns):
            if not all(map(_writable, event.columns)):
                return "the name of a column holds half a character: half of a surrogate pair is no text"
            return "its columns are stated twice" if self.columns is not None else ""
        if event.time is not None:
            try:
                now = instant(event.time)
            except ValueError as problem:
                return str(problem)
            if self._now is not None and now < self._now[0]:
                return f"time {event.time:.40} is before {self._now[1]:.40}, which came earlier: times go on"
        if not all(map(_writable, (event.id, getattr(event, "group", None)))):
            return f"{event.id!r:.60} or its group holds half a character: half of a surrogate pair is no text"
        if event.label is not None and not 0 <= event.label < self.header.classes:
            return f"label {event.label} is no class of the run: they are 0 to {self.header.classes - 1}"
        if isinstance(event, Late):
            seen = self._rows.get(event.id)
            if seen is None:
                return f"a label of {event.id!r:.60}, which is no input so far"
            return "" if seen.label is None else f"a second label of {event.id!r:.60}"
        if event.id in self._rows:
            return f"a second input {event.id!r:.60}"
        watched = {name for name, one in self.header.watched.items() if one.tolerance is None}
        if set(event.scores) != watched or any(
            not math.isfinite(one) for one in event.scores.values() if one is not None
        ):
            return "its scores are others than what is watched"
        if self.wants_group and (event.group is None or in_group(event.group) not in self.header.watched):
            known = [name.removeprefix(_GROUP) for name in self.header.watched if name.startswith(_GROUP)]
            return f"group {event.group!r:.60} is none of the run's; they are {', '.join(known):.200}"
        return ""

    def add(self, event: Event) -> dict[str, float]:
        """Move on by one event, and return the logarithm of each e-process that it moved.

        What the event says of e-values is not read.

        Raises:
            BadInput: for an event that cannot follow those so far.
        """
        if fault := self.fault(event):
            raise BadInput(fault)
        if isinstance(event, Columns):
            self.columns = event.columns
            return {}
        if event.time is not None:
            self._now = instant(event.time), event.time
        if isinstance(event, Late):
            return self._settle(self._rows[event.id], event.label, event.time)
        place, moved, p = len(self._rows), {}, {}
        for name, score in event.scores.items():
            process, ranked = self._processes[name], _ranked(score)
            first, last = bisect_left(process.seen, ranked), bisect_right(process.seen, ranked)
            theta = uniform(self.header.run, name, place, event.digest)
            p[name] = float(smoothed_p(first, last - first, len(process.seen), theta))
            insort(process.seen, ranked)
            process.failures += score is None
            process.move(rank_factors(p[name]), place + 1, event.time, place + 1)
            moved[name] = process.log_e
        self._rows[event.id] = seen = _Seen(place, event, p)
        self._unread += not event.read
        if event.label is not None:
            moved |= self._settle(seen, event.label, event.time)
        return moved

    def follow(self, event: Header | Event) -> str:
        """Move on by an event that somebody wrote down, and say in words what in it does not follow from the rest."""
        if isinstance(event, Header):
            return "a second header"
        try:
            moved = self.add(event)
        except BadInput as problem:
            return str(problem)
        said = {} if isinstance(event, Columns) else event.log_e
        if moved.keys() != said.keys() or any(not _close(said[name], log_e) for name, log_e in moved.items()):
            return "its e-values are others than those that follow from scores and labels"
        return ""

    def _settle(self, seen: _Seen, label: int, time: str | None) -> dict[str, float]:
        """Take in the losses of a row whose label is now known."""
        self._labels += 1
        seen.label, seen.settled = label, self._labels
        moved = {}
        for name, loss in self._losses(seen).items():
            process = self._processes.get(name)
            if process is None or process.watched.tolerance is None:
                continue
            process.failures += loss
            factors = risk_factors(loss, process.watched.tolerance)
            process.move(factors, len(self._rows), time, self._labels)
            moved[name] = process.log_e
        return moved

    def _losses(self, seen: _Seen) -> dict[str, bool]:
        """Whether a labelled row fails, for each risk that it is about."""
        row, wrong = seen.row, seen.row.prediction != seen.label
        group = str(seen.label) if self.header.group == "label" else row.group
        losses = {"error": wrong, "certified": wrong or row.radius is None or row.radius < self.header.radius}
        return losses if group is None else {**losses, in_group(group): wrong}

    @property
    def force(self) -> Force:
        """Expired once a risk raised an alarm, in doubt once a score did; an alarm is never taken back."""
        alarmed = [one for one in self._processes.values() if one.alarm is not None]
        if any(one.watched.tolerance is not None for one in alarmed):
            return Force.EXPIRED
        return Force.IN_DOUBT if alarmed else Force.IN_FORCE

    def processes(self) -> tuple[ProcessReport, ...]:
        """Each process now."""
        return tuple(
            ProcessReport(
                name=one.name,
                hypothesis=one.hypothesis(self.header),
                alpha=one.watched.alpha,
                tolerance=one.watched.tolerance,
                observed=one.capital.steps,
                failures=one.failures,
                log_e=one.log_e,
                peak=one.peak,
                threshold=one.threshold,
                alarm=one.alarm,
                since=one.since,
                series=_thinned(one.series),
            )
            for one in self._processes.values()
        )

    def moved(self) -> tuple[Moved, ...]:
        """Inputs to certify again first: of each process with an alarm, those since the estimated change that moved it.

        Of a risk, the last that failed; of scores, those with the least p-values.
        """
        found = []
        for process in (one for one in self._processes.values() if one.alarm is not None):
            name = process.name
            if process.watched.tolerance is None:
                since = [seen for seen in self._rows.values() if seen.place >= process.since]
                least = sorted(since, key=lambda seen: (seen.p[name], seen.place))[:SHOWN]
                found += [Moved(one.row.id, one.place + 1, name, _scored(one, name)) for one in least]
                continue
            since = sorted(
                (seen for seen in self._rows.values() if seen.settled > process.since), key=lambda seen: seen.settled
            )
            failed = [one for one in since if self._losses(one).get(name)][-SHOWN:]
            found += [Moved(one.row.id, one.place + 1, name, _failed(one)) for one in failed]
        return tuple(found)


def _writable(text: str | None) -> bool:
    """Whether UTF-8 has a form for it."""
    return text is None or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _close(one: float, other: float) -> bool:
    """Whether two machines may have come to both: logarithms are not the same on all of them to the last digit."""
    return abs(one - other) <= 1e-9 * (1 + abs(other))


def _ranked(score: float | None) -> float:
    """NaN is below every number: an input that nobody can read counts as the strangest, not as a fine one."""
    return -math.inf if score is None else score


def _scored(seen: _Seen, name: str) -> str:
    score = seen.row.scores[name]
    return f"{name} {'NaN' if score is None else f'{score:.4g}'}, p = {seen.p[name]:.2g}"


def _failed(seen: _Seen) -> str:
    row = seen.row
    if row.prediction != seen.label:
        return f"answered {'nothing' if row.prediction is None else row.prediction}, the label is {seen.label}"
    return "certified nowhere" if row.radius is None else f"certified at {row.radius:.4g} only"


def _thinned(series: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """At most so many points; of each stretch the highest one, and the last of all."""
    if len(series) <= DRAWN:
        return tuple(series)
    stretch = -(-len(series) // (DRAWN - 1))
    parts = (series[start : start + stretch] for start in range(0, len(series), stretch))
    return (*(max(part, key=lambda point: point[1]) for part in parts), series[-1])
