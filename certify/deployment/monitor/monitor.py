"""``certify.Monitor``: is a certificate still in force, after every input and every label that a stream brings?"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import structs

from certify.certifiers.smoothing import Smoothing
from certify.checker.life import Life, header_fault, in_group, level, tolerance_of
from certify.core.alone import alone_in
from certify.core.legible import many
from certify.core.monitoring import (
    MONITOR,
    RISKS,
    SCORES,
    Columns,
    Event,
    Header,
    Late,
    MonitorReport,
    Row,
    Watched,
)
from certify.core.rounding import brief_up
from certify.core.threats.base import threat_from
from certify.core.values import number, one_of
from certify.data.csv import feature_names
from certify.data.dataset import input_digest
from certify.deployment.monitor.looking import Looking, looking_at, stated_radius
from certify.deployment.monitor.stream import Item, Stream, stream_of
from certify.errors import BadInput, DataError, IncompleteRun, StoreError
from certify.models.classifier import Classifier
from certify.progress.observer import Observer, watching
from certify.stats.e_processes import is_tolerance
from certify.store.life_log import LifeLog
from certify.store.run_folder import Manifest, RunFolder
from certify.study.read import head_of, read_run
from certify.summary.group_columns import group_column, whole_size
from certify.summary.groups import coded

__all__ = ["DELTA", "STATE", "Monitor"]

STATE: Final = "monitor.jsonl"
"""What the file of a monitor is called in its run folder, if nobody says otherwise."""

DELTA: Final = 0.05
"""Probability with which a tolerance that is taken from the run is below its true risk."""

ALPHA: Final = 0.05

LISTED: Final = 10
"""Classes that a sentence names; the rest are counted."""

TOGETHER, SECONDS = 256, 1.0
"""Events that are written together at most, and after how many seconds they are in any case."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What somebody asked of a monitor; None where nobody did."""

    alpha: float | None
    watch: tuple[str, ...] | None
    radius: float | None
    tolerance: Mapping[str, float] | None
    group: str | None


class Monitor:
    """Watches a stream of inputs, and perhaps labels, for evidence that a run no longer speaks for them.

    Each thing that is watched has an e-process: however often anybody looks, and however long it goes on, the
    probability that any of them *ever* raises an alarm while nothing is wrong is at most ``alpha``. Everything is
    written to the file ``state``, which the same call goes on with.

    Args:
        run: the run folder: its model, inputs, threat and certifier.
        state: the file; ``RUN/monitor.jsonl`` if not given. False for memory alone.
        alpha: probability of ever raising a false alarm; 0.05 for a new monitor.
        watch: what to watch, with labels ``"error"`` and ``"certified"``, without ``"margin"``, ``"p_A"`` and
            ``"radius"``; both risks and one score if not given.
        radius: at which an answer should be certified; the smallest declared one above 0 if not given.
        tolerance: the risk that is no alarm yet, by name; the upper confidence limit from the run for others.
        group: watch the error of each group as well: ``label``, ``FILE.csv:COLUMN`` or ``FILE.npz:ARRAY`` says which
            group each input of the run is in.
        model, data: SPECs in place of the manifest's; naming a Python function lets it run. Or a classifier, and the
            inputs with their labels, as :func:`certify.evaluate` took them.
        progress: True shows how far the beginning is.

    Raises:
        BadInput: for settings that cannot be, or others than the file was begun with; a run whose risk has no upper
            limit below 1; or a file that another process works on.
        StoreError: for no run folder, or a file that is about another run or was edited.
        CertifyError: for models and data that cannot be loaded, or are others than the run's.
    """

    def __init__(
        self,
        run: Path | str,
        state: Path | str | bool | None = None,
        *,
        alpha: float | None = None,
        watch: Sequence[str] | None = None,
        radius: float | None = None,
        tolerance: Mapping[str, float] | None = None,
        group: str | None = None,
        model: str | Classifier | None = None,
        data: Any = None,
        progress: bool | Observer = False,
    ) -> None:
        self._run = Path(run)
        with RunFolder.open(self._run) as folder:
            manifest = folder.manifest
        asked = _Asked(alpha, None if watch is None else tuple(watch), radius, tolerance, group)
        path = None if state is False else self._run / STATE if state is None or state is True else Path(state)
        self._log, self._open = LifeLog(path), ExitStack()
        try:
            if path is not None:
                self._open.enter_context(alone_in(path.absolute().parent))
            life = _begun(self._log, manifest)
            if life is not None:
                _refuse_other(life.header, asked, str(path))
            radius = stated_radius(manifest.settings, asked.radius if life is None else life.header.radius)
            watched = asked.watch or () if life is None else life.header.watched
            self._looking = looking_at(manifest, self._run, radius, "radius" in watched, model, data)
            if life is not None and (fault := _other_header(life.header, self._looking)):
                raise StoreError(f"{path} was not begun by a monitor of this run ({fault}); restore it from a copy")
            if life is None:
                _require_certificates(self._run)
                life = Life(_header(manifest, self._looking, asked, self._run, watching(progress)))
                self._log.append([life.header])
            self._beyond = self._looking.beyond
            self._own_columns = _columns_of_run(manifest)
            self._head = _head(manifest, life.header, self._looking)
            self._statement = _statement(life.header, manifest)
            self._life = life
        except BaseException:
            self._open.close()
            raise
        self._waiting: list[Event] = []
        self._written = time.monotonic()
        self._closed, self._orderly = False, True

    def update(
        self,
        x: Any,
        y: Any = None,
        *,
        ids: Sequence[str] | None = None,
        times: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> MonitorReport:
        """Take in inputs, and the labels of those that have one already.

        Args:
            x: inputs (n, ...), with as many features as those of the run. NaN stands for a missing value.
            y: labels (n,), or None; single ones may be None, and come later with :meth:`label`.
            ids: a name for each, by which labels come later; the place in the stream, from 1, if not given. A name that
                was there with the same values is passed over.
            times: a number or an ISO 8601 date for each, which do not go back.
            groups: of each, where groups are watched.

        Raises:
            DataError: for inputs, labels, times or groups that cannot be, or an id that had other values; the inputs
                before it were taken in.
        """
        n = len(x)
        for name, given in (("y", y), ("ids", ids), ("times", times), ("groups", groups)):
            if given is not None and len(given) != n:
                raise BadInput(f"{name} has {len(given)} entries for {n} inputs; give one for each")
        values = x.detach().cpu().numpy() if hasattr(x, "detach") else x
        first = self._life.rows

        def items() -> Iterator[Item]:
            for place in range(n):
                yield Item(
                    where=f"input {place}",
                    id=f"row {first + place + 1}" if ids is None else str(ids[place]),
                    x=values[place],
                    label=None if y is None else y[place],
                    time=None if times is None or times[place] is None else str(times[place]),
                    group=None if groups is None or groups[place] is None else str(groups[place]),
                )

        return self._all(items())

    def label(self, ids: Sequence[str], y: Sequence[int], *, times: Sequence[Any] | None = None) -> MonitorReport:
        """Take in labels of inputs that came earlier.

        Args:
            ids: of the inputs.
            y: their labels.
            times: when the labels arrived.

        Raises:
            DataError: for an id that is none, or that had another label.
        """
        if len(ids) != len(y):
            raise BadInput(f"there are {len(y)} labels for {len(ids)} ids; give one for each")
        return self._all(
            Item(f"label {place}", str(id), None, y[place], None if times is None else str(times[place]), None)
            for place, id in enumerate(ids)
        )

    def follow(self, source: str) -> MonitorReport:
        """Take in what is new in a stream, as ``certify monitor --stream`` does.

        Args:
            source: a file of CSV or JSON lines, a folder, or ``-`` for standard input.

        Raises:
            BadInput: if there is no such thing.
            DataError: for a row that cannot be, or columns that are others than before; the rows before it were taken
                in.
        """
        stream = stream_of(source, self._looking.input_box, self._looking.threat.units)
        columns = stream.columns()
        if columns is not None:
            self._check_columns(columns, stream)
        return self._all(stream.items())

    def report(self) -> MonitorReport:
        """What is known so far."""
        life = self._settled()
        return MonitorReport(
            run=self._run.name or str(self._run),
            force=life.force,
            processes=life.processes(),
            rows=life.rows,
            labels=life.labels,
            unread=life.unread,
            moved=life.moved(),
            head=self._head,
            statement=self._statement,
            chain=self._log.chain,
        )

    @property
    def state(self) -> Path | None:
        """The file; None where there is none."""
        return self._log.path

    def close(self) -> None:
        """Let other processes go on with the file; this monitor takes in nothing more."""
        self._closed = True
        self._open.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self, items: Iterable[Item]) -> MonitorReport:
        if self._closed:
            raise BadInput("this monitor was closed, and others may go on with its file: open it again")
        self._settled()
        self._orderly = False
        try:
            try:
                for item in items:
                    self._take(item)
            finally:
                if not isinstance(sys.exception(), KeyboardInterrupt):
                    self._flush()
        except Exception:
            self._orderly = True
            raise
        self._orderly = True
        return self.report()

    def _settled(self) -> Life:
        """The life so far, derived again from the file where an interrupt came between taking in and writing down."""
        if not self._orderly:
            self._life, self._waiting, self._orderly = _derived(self._log), [], True
        return self._life

    def _take(self, item: Item) -> None:
        """Take in one row or label; what was there before is passed over."""
        label = self._label_of(item)
        known = self._life.known(item.id)
        if item.x is None:
            if label is None:
                raise DataError(f"{item.where} holds neither an input nor a label")
            if known is None:
                raise DataError(f"{item.where}: a label of {item.id!r:.60}, which is no input so far")
        else:
            x = self._looking.values(item.x, item.where)
            if known is None:
                self._add(self._row(item, x, label), item.where)
                return
            if known[0] != input_digest(x):
                raise DataError(
                    f"{item.where}: {item.id!r:.60} had other values before; give each input an id of its own"
                )
        if label is None or known[1] == label:
            return
        if known[1] is not None:
            raise DataError(f"{item.where}: the label of {item.id!r:.60} was {known[1]}, and is {label} now")
        when = item.time if item.x is None else None  # the time of a row is that of its input
        self._add(Late(item.id, when, label, {}), item.where)

    def _row(self, item: Item, x: Any, label: int | None) -> Row:
        watched = self._life.header.watched
        scores = [name for name in watched if name in SCORES]
        group = item.group if self._life.wants_group else None
        looked = self._looking.look(x, self._beyond + self._life.rows, scores, "certified" in watched)
        return Row(
            item.id,
            looked.digest,
            looked.prediction,
            looked.radius,
            looked.read,
            looked.scores,
            group,
            item.time,
            label,
            {},
        )

    def _label_of(self, item: Item) -> int | None:
        """The label of a row as a class of the run."""
        if item.label is None or (isinstance(item.label, str) and not item.label.strip()):
            return None
        classes = self._life.header.classes
        try:
            value = float(item.label)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if math.isnan(value) and isinstance(item.label, float | np.floating):
            return None
        if not (value.is_integer() and 0 <= value < classes):
            raise DataError(
                f"{item.where}: label {item.label!s:.40} is no class of the run; they are 0 to {classes - 1}"
            )
        return int(value)

    def _add(self, event: Row | Late, where: str) -> None:
        if fault := self._life.fault(event):
            raise DataError(f"{where}: {fault}")
        self._written_soon(structs.replace(event, log_e=self._life.add(event)))

    def _check_columns(self, columns: tuple[str, ...], stream: Stream) -> None:
        """Refuse a stream whose columns are others than those of the run, or of the stream before."""
        before = self._life.columns
        if before is None:
            own = self._own_columns
            if own is not None and own != columns:
                raise DataError(f"{stream.name} has other columns than the run: {_differing(own, columns)}")
            event = Columns(columns)
            self._life.add(event)
            self._written_soon(event)
        elif before != columns:
            raise DataError(f"{stream.name} has other columns than before: {_differing(before, columns)}")

    def _written_soon(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= TOGETHER or time.monotonic() - self._written > SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._log.append(self._waiting)
            self._waiting = []
        self._written = time.monotonic()


def _begun(log: LifeLog, manifest: Manifest) -> Life | None:
    """The life that a file tells so far; None where there is no file.

    Raises:
        StoreError: for a file that is damaged, was edited, or is about another run.
    """
    if log.path is None or not log.path.exists():
        return None
    life = _derived(log)
    header = life.header
    for name, there, here in (
        ("model", header.model, str(manifest.settings["model"]["digest"])),
        ("data", header.data, str(manifest.settings["data"]["digest"])),
        ("settings", header.run, manifest.digest),
    ):
        if there != here:
            raise StoreError(
                f"{log.path} is about another run: the digest of its {name} is {there[:12]}, that of this run "
                f"{here[:12]}; name another --state"
            )
    return life


def _derived(log: LifeLog) -> Life:
    """The life that follows from a file.

    Raises:
        StoreError: for a file that is damaged, or was edited.
    """
    lines = log.read()
    _, header = next(lines, (0, None))
    if not isinstance(header, Header):
        raise StoreError(f"{log.path} is no file of a monitor: name one, or a file that is not there, with --state")
    if fault := header_fault(header):
        raise StoreError(f"{log.path} was not begun by a monitor ({fault}); restore it from a copy")
    life = Life(header)
    for line, event in lines:
        if fault := life.follow(event):
            raise StoreError(f"{log.path} line {line} does not follow ({fault}); restore the file from a copy")
    return life


def _other_header(header: Header, looking: Looking) -> str:
    """What in a header is other than the run and its data say, in words; empty where nothing is.

    The run's inputs are not looked at again, which would take as long as it did to begin.
    """
    settings = msgspec.json.decode(msgspec.json.encode(looking.certifier.settings()))
    inputs = {one.inputs for name, one in header.watched.items() if name in (*RISKS, *SCORES)}
    for name, differs in (
        ("threat", threat_from(header.threat).to_dict() != looking.threat.to_dict()),
        ("certifier", any(settings.get(name) != value for name, value in header.certifier.items())),
        ("number of classes", header.classes != looking.classifier.num_classes),
        ("number of features", header.features != math.prod(looking.shape)),
        ("number of inputs", not inputs <= {len(looking.positions)}),
    ):
        if differs:
            return f"the {name} is another one"
    return ""


def _require_certificates(run: Path) -> None:
    """Refuse to begin watching over certificates that are not all there, or that an example contradicts.

    Raises:
        IncompleteRun: for a run that is not finished.
        BadInput: for adversarial examples inside certified radii.
    """
    summary = read_run(run).summary
    if summary.contradictions:
        found = many(len(summary.contradictions), "adversarial example")
        raise BadInput(f"{run} has {found} inside certified radii: its certificates are not in force")
    if not summary.complete:
        raise IncompleteRun(f"{run} is incomplete, and a monitor watches over certificates: run the same command again")


def _refuse_other(header: Header, asked: _Asked, path: str) -> None:
    """Refuse what would change a monitor after it began: its promise is about what was settled beforehand."""
    watched = tuple(name for name in header.watched if not name.startswith(in_group("")))
    stated = {name: one.tolerance for name, one in header.watched.items() if one.stated}
    for name, now, then in (
        ("alpha", asked.alpha, header.alpha),
        ("watch", None if asked.watch is None else set(asked.watch), set(watched)),
        ("radius", asked.radius, header.radius),
        ("tolerance", None if asked.tolerance is None else dict(asked.tolerance), stated),
        ("group", asked.group, header.group),
    ):
        if now is not None and now != then:
            shown = [", ".join(sorted(one)) if isinstance(one, set) else one for one in (then, now)]
            raise BadInput(
                f"{path} was begun with {name} {shown[0]}, not {shown[1]}: leave it out, or name another --state"
            )


def _header(manifest: Manifest, looking: Looking, asked: _Asked, run: Path, progress: Observer) -> Header:
    """What a new monitor watches, with what it saw of the run's own inputs."""
    smoothing = isinstance(looking.certifier, Smoothing)
    watch = asked.watch if asked.watch is not None else (*RISKS, "p_A" if smoothing else "margin")
    for name in watch:
        one_of("watch", name, (*RISKS, *SCORES))
    if not watch or len(set(watch)) < len(watch):
        raise BadInput("watch names at least one thing, and each once")
    if "p_A" in watch and not smoothing:
        raise BadInput("p_A is the share of votes under noise, and the run's certifier draws none: watch margin")
    alpha = ALPHA if asked.alpha is None else number("alpha", asked.alpha)
    if not 0 < alpha < 1:
        raise BadInput(f"alpha must lie strictly between 0 and 1, got {alpha}; {ALPHA} is usual")
    groups = [] if asked.group is None else _groups(asked.group, run, manifest, looking)
    scores = [name for name in watch if name in SCORES]
    looked = looking.looked_at_run(scores, "certified" in watch, progress)
    wrong = [one.prediction != label for one, label in zip(looked, looking.labels, strict=True)]
    losses: dict[str, list[bool]] = {}
    if "error" in watch:
        losses["error"] = wrong
    if "certified" in watch:
        radius = looking.threat.radii[-1]
        losses["certified"] = [
            fails or one.radius is None or one.radius < radius for fails, one in zip(wrong, looked, strict=True)
        ]
    for name in sorted(set(groups)):
        losses[in_group(name)] = [fails for fails, group in zip(wrong, groups, strict=True) if group == name]
    stated = _tolerances(asked.tolerance or {}, losses)
    share = level(alpha, len(losses) + len(scores))
    if not share:
        raise BadInput(f"alpha {alpha:g} is too small to be shared: {ALPHA} is usual")
    watched = {}
    for name, of in losses.items():
        failures, inputs = sum(of), len(of)
        tolerance = stated.get(name)
        if tolerance is None:
            tolerance = tolerance_of(failures, inputs, DELTA, len(losses))
        if not tolerance < 1:
            raise BadInput(
                f"all {many(inputs, 'input')} of the run fail in {name}, so that no stream can be worse: state a "
                "--radius that the certifier reaches, a --tolerance, or watch something else"
            )
        watched[name] = Watched(share, tolerance, name in stated, failures, inputs, ())
    for name in scores:
        watched[name] = Watched(share, None, False, 0, len(looked), tuple(one.scores[name] for one in looked))
    settings = manifest.settings
    return Header(
        format=MONITOR,
        run=manifest.digest,
        model=str(settings["model"]["digest"]),
        data=str(settings["data"]["digest"]),
        threat=looking.threat.to_dict(),
        certifier=looking.certifier.settings(),
        classes=looking.classifier.num_classes,
        features=math.prod(looking.shape),
        radius=looking.threat.radii[-1],
        alpha=alpha,
        delta=DELTA,
        group=asked.group or "",
        watched=watched,
    )


def _tolerances(asked: Mapping[str, Any], losses: Mapping[str, Any]) -> dict[str, float]:
    stated = {}
    for name, value in asked.items():
        one_of("tolerance", name, losses)
        stated[name] = number(f"tolerance of {name}", value)
        if not is_tolerance(stated[name]):
            raise BadInput(f"the tolerance of {name} lies strictly between 0 and 1, got {stated[name]}")
    return stated


def _groups(spec: str, run: Path, manifest: Manifest, looking: Looking) -> list[str]:
    """The group of each of the run's inputs that the monitor compares with."""
    name, of = group_column(spec, read_run(run).summary.sandwich, whole_size(manifest.settings["data"]))
    if spec == "label":
        return [str(label) for label in looking.labels]
    codes, names = coded(name, np.array(looking.positions), of)
    return [names[code] for code in codes.tolist()]


def _head(manifest: Manifest, header: Header, looking: Looking) -> dict[str, str]:
    inputs = max(one.inputs for one in header.watched.values())
    return {
        **head_of(manifest),
        "threat": str(threat_from(header.threat)),
        "looks by": looking.certifier.describe(looking.threat, looking.shape),
        "compares": f"with {many(inputs, 'input')} of the run",
    }


def _statement(header: Header, manifest: Manifest) -> tuple[str, ...]:
    """What is promised, and what is taken for granted."""
    parts = len(header.watched)
    said = [
        f"While every hypothesis holds, the probability that any of the {parts} process{'es' * (parts > 1)} "
        f"ever raises an alarm, however long the stream and however often anybody looks, is at most "
        f"{brief_up(header.alpha)}: each of them spends {brief_up(header.alpha / parts)}."
    ]
    taken = [name for name, one in header.watched.items() if one.tolerance is not None and not one.stated]
    if taken:
        said.append(
            f"The tolerances of {', '.join(taken)} are upper confidence limits from the run: if its inputs were drawn "
            f"independently from what the stream is drawn from, all of them are at least the true risks with "
            f"probability {1 - header.delta:g}, over the draw of the run's inputs; so while nothing changes, any alarm "
            f"at all has probability at most {brief_up(header.alpha + header.delta)} over both draws."
        )
    if any(one.tolerance is not None for one in header.watched.values()):
        said.append(
            "Labels may come late and in any order, and some never, as long as whether and when a label comes does not "
            "depend on whether the answer is right."
        )
    if any(one.tolerance is None for one in header.watched.values()):
        said.append(
            "An alarm of a score says that inputs have changed, not that the risk has grown; and whoever chooses the "
            "inputs knowing the file can keep it silent."
        )
    absent = [str(label) for label in range(header.classes) if in_group(str(label)) not in header.watched]
    if header.group == "label" and absent:
        more = f" and {len(absent) - LISTED:,} more" if len(absent) > LISTED else ""
        said.append(
            f"Of label {', '.join(absent[:LISTED])}{more} the run has no input to compare with: such inputs count, but "
            "not by themselves."
        )
    if isinstance(met := manifest.context.get("met"), Mapping):
        said.append(
            f"The model was trained on {met.get('trained')!s:.20} of the run's inputs and chosen by "
            f"{met.get('held_out')!s:.20}: these say little about new ones, which may raise an alarm for this alone."
        )
    return tuple(said)


def _columns_of_run(manifest: Manifest) -> tuple[str, ...] | None:
    """The names of the features where the run's data are a table with a header that is at hand; None otherwise."""
    specs = manifest.context.get("specs")
    spec = str(specs.get("data", "")) if isinstance(specs, Mapping) else ""
    return feature_names(spec.removeprefix("csv:")) if spec.startswith("csv:") else None


def _differing(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """In what two rows of names differ, in words."""
    if lacking := [name for name in ours if name not in theirs]:
        return f"it lacks {', '.join(lacking)[:80]}"
    if more := [name for name in theirs if name not in ours]:
        return f"it has {', '.join(more)[:80]} as well"
    place = next(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return f"{theirs[place]!r:.40} stands where {ours[place]!r:.40} should"
