"""A study: one model, one data set, one threat model; certifiers and an attack; records that survive interruption."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import torch

from certify.attacks.base import Attack
from certify.attacks.run import run_attack, without_result
from certify.attacks.target import Target
from certify.bounds.deadline import NEVER, Deadline
from certify.certifiers.base import Certifier, failed
from certify.certifiers.certify import certified
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.legible import legible_line, many
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief, percent_down
from certify.core.threats.base import Threat
from certify.core.values import one_of
from certify.data.batch import Batch
from certify.data.dataset import Dataset
from certify.device import as_alone, described, lost
from certify.engines.base import Crew, Engine, Lost
from certify.engines.serial import Serial
from certify.errors import BadInput, CertifyError, DataError, DeviceLost, StoreError, one_line
from certify.models.classifier import Classifier, check_targets
from certify.progress.observer import Observer, watching
from certify.store.heartbeat import Heartbeat
from certify.store.records import Records
from certify.store.run_folder import Manifest, RunFolder
from certify.study.chance import near_chance
from certify.study.read import head_of
from certify.study.result import Result

__all__ = ["Study", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs that are computed together in one stage of a study.

    Args:
        stage: the place of the certifier; ``"attack"``; ``"chance"``, whether the model does better than guessing; or
            ``"lead"``, how far the first score is from the second.
        rows: the inputs, by their rows in the data set of the study.
    """

    stage: int | Literal["attack", "chance", "lead"]
    rows: range

    def __len__(self) -> int:
        """Inputs that a time limit is for; a look at scores takes no longer than one input."""
        return 1 if self.stage in ("chance", "lead") else len(self.rows)


ORDERS: Final = ("given", "cheapest", "hardest")
"""Which inputs come first."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a study is carried out, on which no record depends.

    Args:
        crew: those who do the work.
        order: one of :data:`ORDERS`.
        deadline: after it, nothing more is begun.
    """

    crew: Crew[Task]
    order: str
    deadline: Deadline

    def in_time(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """The tasks, until the deadline."""
        return itertools.takewhile(lambda task: not self.deadline.passed, tasks)


@dataclass(frozen=True, slots=True)
class Study:
    """What to certify, how, and which attack to hold against it.

    Args:
        classifier: the model.
        dataset: labelled inputs.
        threat: norm and declared radii; the classifier's input box is added.
        certifiers: one probabilistic certifier, or deterministic ones of which the best proof counts.
        attack: searches for adversarial examples, or None.
        target: what the attack attacks: the classifier, or the smoothed classifier; None without an attack.
        seed: master seed of noise and attacks.
        shard: (i, n): work on the i-th of n parts, counted from 0.
        context: what is worth knowing besides, see :class:`~certify.store.run_folder.Manifest`.
        cautions: what has to be said when it begins, a line each.

    Raises:
        BadInput, DataError, ModelError: before any work, if a certifier cannot serve this model or threat model.
    """

    classifier: Classifier
    dataset: Dataset
    threat: Threat
    certifiers: tuple[Certifier, ...]
    attack: Attack | None
    target: Target | None
    seed: int
    shard: tuple[int, int] = (0, 1)
    context: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "threat", self.threat.within(self.classifier.input_box))
        if not self.certifiers:
            raise BadInput("a study needs a certifier")
        methods = [certifier.method for certifier in self.certifiers]
        if len(set(methods)) < len(methods):
            raise BadInput(f"a certifier is named twice: {', '.join(methods)}")
        if (self.attack is None) != (self.target is None):
            raise BadInput("an attack needs a target, and a target an attack")
        if self.dataset.input_box != self.classifier.input_box:
            raise BadInput(
                f"the data's input box {self.dataset.input_box} is not the classifier's {self.classifier.input_box}; "
                "declare the same for both"
            )
        if self.classifier.property.several != self.dataset.several:
            raise BadInput(
                f"{self.classifier.property.kind} does not fit these data: rows of 0 and 1, which say what labels an "
                "input has, go with the property labels, and it with them"
            )
        if int(self.dataset.y.max()) >= self.classifier.num_classes:
            raise DataError(
                f"label {int(self.dataset.y.max())} is out of range; "
                f"the model's classes are 0 to {self.classifier.num_classes - 1}"
            )
        if self.classifier.property.by_pixel != self.dataset.of_pixels:
            raise BadInput(
                f"{self.classifier.property.kind} does not fit these data: label maps (n, height, width) go with a "
                "certify.Segmenter and the property pixels, and it with them"
            )
        if self.classifier.property.per_input != (self.dataset.targets is not None):
            raise BadInput(
                f"{self.classifier.property.kind} does not fit these data: true values of a regression go with a "
                "certify.Regressor and the property within, classes with a certify.Classifier"
            )
        self.threat.check_inputs(self.dataset.x)
        self.classifier.check(torch.from_numpy(self.dataset.x))
        if self.dataset.targets is not None:
            check_targets(self.classifier, torch.from_numpy(self.dataset.x), self.dataset.targets.tolist())
        for certifier in self.certifiers:
            certifier.check_scope(self.threat, self.classifier.property)
            certifier.check(self.classifier, self.threat, torch.from_numpy(self.dataset.x))
        if self.attack is not None and self.target is not None:
            self.attack.check_scope(self.threat, self.classifier.property)
            self.attack.check(self.target, self.threat)

    def manifest(self) -> Manifest:
        """Everything the records depend on, and the context worth knowing."""
        return Manifest(
            settings={
                "model": {
                    "name": self.classifier.name,
                    "digest": self.classifier.digest,
                    **self.classifier.arithmetic.stated,
                },
                "data": {
                    "name": self.dataset.name,
                    "digest": self.dataset.digest,
                    "inputs": len(self.dataset),
                    "of": self.dataset.drawn_from or len(self.dataset),
                    "drawn_seed": self.dataset.drawn_seed,
                    **({} if self.dataset.fold is None else {"fold": list(self.dataset.fold)}),
                },
                "threat": self.threat.to_dict(),
                **({} if self.classifier.property == TOP_CLASS else {"property": self.classifier.property.to_dict()}),
                "certifiers": [certifier.settings() for certifier in self.certifiers],
                "attack": None
                if self.attack is None or self.target is None
                else {"attack": self.attack.name, **self.attack.settings(), **self.target.settings()},
                "seed": self.seed,
                "shard": list(self.shard),
                "inputs": self.expected,
                "device": described(self.classifier.device),
            },
            context={
                "versions": {
                    "certify": version("certify"),
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
                "num_classes": self.classifier.num_classes,
                **self.context,
            },
        )

    def announcement(self) -> str:
        """Model, data, threat model and method in three lines: a number means nothing without them."""
        head, property, shape = head_of(self.manifest()), self.classifier.property, self.dataset.x.shape[1:]
        lines = [
            f"model {head['model']}{self._normalized()}  sha256 {self.classifier.digest[:12]}   "
            f"data {head['data']}, n={self.expected}",
            f"threat {self.threat}",
            *([] if property == TOP_CLASS else [f"property: {property}"]),
            "   ".join(one.describe(self.threat, shape, property) for one in self.certifiers),
        ]
        return "\n".join(lines)

    def _normalized(self) -> str:
        if self.classifier.normalization is None:
            return ""
        mean, std = (", ".join(f"{value:g}" for value in values) for values in self.classifier.normalization)
        return f" (which normalizes by mean {mean} and std {std})"

    def run(
        self,
        out: Path | str | None = None,
        progress: bool | Observer = False,
        engine: Engine | None = None,
        *,
        order: str = "given",
        deadline: Deadline = NEVER,
    ) -> Result:
        """Do what is not done yet; with ``out``, keep every record there as soon as it is made.

        Args:
            out: run folder; None keeps the records in memory.
            progress: True shows how far it is.
            engine: where the work is done, see :mod:`certify.engines`; in this process if None. This process writes.
            order: which inputs come first: as ``"given"``, the ``"cheapest"`` or the ``"hardest"``, by how far the
                model's first score is from its second. Records do not depend on it.
            deadline: after it no more inputs are begun; what was begun is finished and kept.

        Raises:
            BadInput: if the model cannot be sent to where the work would be done, or for an unknown order.
            StoreError: if the folder was made with other settings or cannot be written.
        """
        progress, manifest = watching(progress), self.manifest()
        engine, order = engine or Serial(), one_of("order", order, ORDERS)
        if out is None:
            with Records(":memory:", manifest.digest) as records, self._crew(engine) as crew:
                return self._run(records, progress, Way(crew, order, deadline), None)
        with (
            RunFolder.create(out, manifest) as folder,
            Heartbeat(progress, folder.path, {"engine": str(engine)}) as heart,
            self._crew(engine) as crew,
        ):
            if older := _other_versions(folder.manifest, manifest):
                progress.announce(legible_line(f"{folder.path} was begun under {older}; what is there is kept"))
            self._check_kept(folder)
            result = self._run(folder.records, heart, Way(crew, order, deadline), folder.path)
            if deadline.passed:
                heart.ended = "out of time"
            return result

    def _crew(self, engine: Engine) -> AbstractContextManager[Crew[Task]]:
        return engine.crew(self.carry_out, self.classifier.device)

    def _check_kept(self, folder: RunFolder) -> None:
        """Refuse records of other inputs than those at hand: they would be taken for results of these."""
        kept = folder.records.certificate_columns(), folder.records.finding_columns()
        known = {*self.dataset.identities} if any(len(columns) for columns in kept) else set()
        for columns in kept:
            for one in zip(columns.index.tolist(), columns.label.tolist(), columns.digest, strict=True):
                if one not in known:
                    other = "use another --out, or leave it out: certify salvage RUN --data SPEC --out NEW"
                    said = "holds a record of another input, or label, than the data have there"
                    raise StoreError(f"{folder.path} {said}, at {one[0]}: {other}")

    def _run(self, records: Records, progress: Observer, way: Way, out: Path | None) -> Result:
        progress.announce(self.announcement())
        for said in self.cautions:
            progress.warn(said)
        if not self.expected:
            inputs, shards = len(self.dataset), -(-len(self.dataset) // self._lot)
            lots = f"{many(inputs, 'input')} go to {many(shards, 'shard')} at most"
            progress.announce(
                f"shard {self.shard[0]}/{self.shard[1]} is empty and complete: in lots of {self._lot}, {lots}"
            )
        elif not self.classifier.property.per_input:
            for _, said in way.crew.results([Task("chance", range(len(self.dataset)))]):
                if isinstance(said, str):  # nothing where all is well, and nothing where the model crashed
                    progress.warn(said)
        for stage, certifier in enumerate(self.certifiers):
            shape = self.dataset.x.shape[1:]
            if said := certifier.shortfall(self.threat, shape, self.classifier.property):
                progress.warn(f"{said}; the table shows 0 there")
            self._certify(stage, records, progress, way)
        if self.attack is not None:
            self._attack(self.attack, records, progress, way)
        findings = None if self.attack is None else records.findings()
        of = self.dataset.drawn_from if self.expected == len(self.dataset) else None
        return Result(records.certificates(), findings, head_of(self.manifest()), self.expected, of, out)

    @property
    def expected(self) -> int:
        """How many inputs this shard attempts."""
        return sum(len(rows) for rows in self._groups(self._lot))

    @property
    def _lot(self) -> int:
        """Inputs of one lot; the shards and the whole run have the same lots, so that their records are the same."""
        return min(certifier.lot for certifier in self.certifiers)

    def _groups(self, size: int) -> Iterator[range]:
        """Fixed groups of rows: which inputs are computed together never depends on what was done before."""
        number, count = self.shard
        for lot in range(0, len(self.dataset), self._lot)[number::count]:
            end = min(lot + self._lot, len(self.dataset))
            yield from (range(start, min(start + size, end)) for start in range(lot, end, size))

    def _batch(self, rows: range) -> Batch:
        data, chosen = self.dataset, slice(rows.start, rows.stop)
        targets = None if data.targets is None else data.targets[chosen].tolist()
        return Batch.of(data.x[chosen], data.y[chosen], self.classifier.num_classes, data.positions[chosen], targets)

    def _pending(self, size: int, done: set[int], way: Way) -> list[range]:
        pending = [
            rows for rows in self._groups(size) if not done.issuperset(self.dataset.positions[rows.start : rows.stop])
        ]
        if way.order == "given" or not pending:
            return pending
        leads = {
            task.rows: 0.0 if isinstance(lead, Lost) else lead
            for task, lead in way.crew.results([Task("lead", rows) for rows in pending])
        }
        return sorted(pending, key=lambda rows: leads[rows], reverse=way.order == "cheapest")

    def _lead(self, rows: range) -> float:
        """How far the first score is from the second, on average over a group: proofs of close ones take longest."""
        try:
            with torch.inference_mode():
                scores = self.classifier.scores(torch.from_numpy(self.dataset.x[rows.start : rows.stop]))
        except Exception:  # its own task says so, and the rest go on
            return 0.0
        first = scores.double().topk(min(2, scores.shape[1]), dim=1).values
        return float((first[:, 0] - first[:, -1]).nan_to_num(0.0).mean())

    def _certify(self, stage: int, records: Records, progress: Observer, way: Way) -> None:
        certifier = self.certifiers[stage]
        done = records.decided(certifier.method)
        made = [certificate for certificate in records.certificates() if certificate.method == certifier.method]
        with progress.stage(f"certifying ({certifier.method})", self.expected, len(done)) as advance:
            tasks = [Task(stage, rows) for rows in self._pending(certifier.rows, done, way)]
            for task, certificates in self._results(way, tasks, progress):
                if isinstance(certificates, Lost):
                    certificates = self._failed(certifier, self._batch(task.rows), certificates.reason)
                records.add(certificates)
                made += certificates
                for certificate in certificates:
                    progress.detail(str(certificate))
                advance(len(task), self._so_far(made))

    @as_alone()
    def carry_out(self, task: Task) -> Any:
        """The records of a task, one an input, or a warning: what a worker does, wherever it is."""
        if task.stage == "chance":
            return near_chance(self.classifier, self.dataset.x, self.dataset.y)
        if task.stage == "lead":
            return self._lead(task.rows)
        batch = self._batch(task.rows)
        if isinstance(task.stage, int):
            return self._guarded(self.certifiers[task.stage], batch)
        return self._attacked(batch)

    def _results(self, way: Way, tasks: Sequence[Task], progress: Observer) -> Iterator[tuple[Task, Any]]:
        """What became of tasks. The inputs of one whose process died are tried once more, each by itself."""
        lost: list[int] = []
        for task, made in way.crew.results(way.in_time(tasks)):
            if isinstance(made, Lost):
                lost += task.rows
                progress.warn(f"the task of {self._named(task)} is tried again, input by input: {made.reason}")
            else:
                yield task, made
        if lost:
            singles = [Task(tasks[0].stage, range(row, row + 1)) for row in lost]
            yield from way.crew.results(way.in_time(singles), alone=True)

    def _named(self, task: Task) -> str:
        positions = self.dataset.positions[task.rows.start : task.rows.stop]
        return f"input {positions[0]}" if len(positions) == 1 else f"inputs {positions[0]} to {positions[-1]}"

    def _so_far(self, made: list[Certificate]) -> str:
        """A running figure for people who watch."""
        radius = self.threat.radii[len(self.threat.radii) // 2]
        held = sum(certificate.correct and certificate.holds_at(radius) for certificate in made)
        note = f"{percent_down(held / len(made))}% certified at {brief(radius)}"
        if made[-1].guarantee.alpha is None:
            return note
        return f"{note}  {sum(certificate.forward_passes for certificate in made) / len(made):,.0f} samples/input"

    def _guarded(self, certifier: Certifier, batch: Batch) -> list[Certificate]:
        """The certificates of a batch. A computation that fails is recorded as failed, for the inputs where it does."""
        try:
            return list(certified(certifier, self.classifier, batch, self.threat))
        except CertifyError:
            raise
        except Exception as problem:  # somebody else's model may raise anything
            self._refuse_lost(problem)
            if len(batch) == 1:
                return self._failed(certifier, batch, one_line(problem))
        rows = (batch.rows(slice(row, row + 1)) for row in range(len(batch)))
        return [certificate for row in rows for certificate in self._guarded(certifier, row)]

    def _refuse_lost(self, problem: Exception) -> None:
        """Nothing more can be computed on a device that failed: the run ends."""
        if lost(problem):
            raise DeviceLost(
                f"the device {self.classifier.device} failed ({one_line(problem)}): what was finished is kept, and "
                "the same command goes on from there"
            ) from problem

    def _attacked(self, batch: Batch) -> list[Finding]:
        """What an attack found about a batch. One that fails is recorded as failed, for the inputs where it does."""
        assert self.attack is not None
        assert self.target is not None
        try:
            return list(run_attack(self.target, batch, self.threat, self.attack, self.seed))
        except CertifyError:
            raise
        except Exception as problem:  # somebody else's model may raise anything
            self._refuse_lost(problem)
            if len(batch) == 1:
                return self._unattacked(batch, one_line(problem))
        rows = (batch.rows(slice(row, row + 1)) for row in range(len(batch)))
        return [finding for row in rows for finding in self._attacked(row)]

    def _unattacked(self, batch: Batch, reason: str) -> list[Finding]:
        """The same of an attack as :meth:`_failed` of a certifier."""
        assert self.attack is not None
        assert self.target is not None
        return without_result(self.target, batch, self.threat, self.attack, self.seed, reason)

    def _failed(self, certifier: Certifier, batch: Batch, reason: str) -> list[Certificate]:
        """Records that say that nothing could be computed, and why: not that something is undecided."""
        rows = range(len(batch))
        return [failed(self.classifier, batch, row, self.threat, certifier.method, reason) for row in rows]

    def _attack(self, attack: Attack, records: Records, progress: Observer, way: Way) -> None:
        done = records.attacked(attack.name)
        broken = sum(finding.succeeded for finding in records.findings())
        with progress.stage(f"attacking ({attack.name})", self.expected, len(done)) as advance:
            tasks = [Task("attack", rows) for rows in self._pending(self._lot, done, way)]
            for task, findings in self._results(way, tasks, progress):
                if isinstance(findings, Lost):
                    findings = self._unattacked(self._batch(task.rows), findings.reason)
                records.add(findings)
                for finding in findings:
                    (progress.warn if finding.error else progress.detail)(str(finding))
                broken += sum(finding.succeeded for finding in findings)
                advance(len(task), f"{broken} broken within {brief(self.threat.largest)}")


def _other_versions(begun: Manifest, now: Manifest) -> str:
    """The versions under which a run was begun, where they are not those of today: ``"certify 0.9, now 1.0"``."""
    then, today = (one.context.get("versions") for one in (begun, now))
    if not (isinstance(then, Mapping) and isinstance(today, Mapping)):
        return "unknown versions"
    return ", ".join(
        f"{name} {then.get(name)}, now {version}" for name, version in today.items() if then.get(name) != version
    )
