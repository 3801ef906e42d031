"""How far a run is, for whoever looks at its folder from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from certify.core.legible import legible_line
from certify.core.verdict import Verdict
from certify.progress.stage import clock
from certify.store.heartbeat import last_beat
from certify.store.run_folder import RunFolder

__all__ = ["Status", "status_of"]

ERRORS: Final = 5
"""How many of the inputs that failed are named."""

LONG: Final = 1e9
"""Seconds that nobody waits for."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is done of a run.

    Args:
        path: the run folder.
        expected: inputs that the run is to attempt.
        done: how many each certifier, and the attack, has finished; failed computations are not among them.
        errors: position and reason of the last inputs on which a certifier failed, and then of those on which the
            attack did.
        failed: how many failures there are in all.
        beat: what the process that works on it said last, see :func:`~certify.store.heartbeat.last_beat`.
        now: when this was asked, in seconds since the epoch.
    """

    path: str
    expected: int
    done: Mapping[str, int]
    errors: tuple[tuple[int, str], ...]
    failed: int
    beat: Mapping[str, Any]
    now: float

    @property
    def finished(self) -> bool:
        """Whether every input has a result of every certifier and of the attack."""
        return bool(self.done) and all(count >= self.expected for count in self.done.values())

    @property
    def alive(self) -> bool:
        """Whether a process works on it."""
        return bool(self.beat.get("alive"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"finished": self.finished, "alive": self.alive}

    def __str__(self) -> str:
        lines = [f"{self.path}: {self._process()}"]
        width = max(map(len, self.done), default=0)
        lines += [f"  {name:<{width}}  {count:,}/{self.expected:,}" for name, count in self.done.items()]
        if self.alive and (said := self._pace()):
            lines.append(f"  {said}")
        if self.failed:
            lines.append(f"  {self.failed:,} failed; the same run command tries them again")
            lines += [f"    input {index}: {legible_line(reason)}" for index, reason in self.errors]
        lines += [f"  warning: {legible_line(one)}" for one in self.beat.get("warnings", ())]
        return "\n".join(lines)

    def _process(self) -> str:
        if self.finished:
            return "finished"
        if not self.beat:
            return "unfinished, and no process left word; the same run command resumes it"
        where = f"process {self.beat['pid']} on {legible_line(self.beat['host'])}"
        engine = f", {self.beat['engine']}" if "engine" in self.beat else ""
        age = clock(max(0.0, self.now - self.beat["beat"]))
        if self.alive:
            return f"running ({where}{legible_line(engine)}), last word {age} ago"
        how = legible_line(self.beat.get("ended", "without a word"))
        return f"stopped {age} ago ({where}, {how}); the same run command resumes it"

    def _pace(self) -> str:
        if (stage := self.beat.get("stage")) is None:
            return ""
        left, rate = max(0, stage["total"] - stage["done"]), stage["rate"]
        eta = f"ETA {clock(left / rate)}" if left < rate * LONG else "ETA -:--"
        return legible_line(f"{stage['what']}  {eta}  {rate:.2f} {stage['unit']}/s  {stage['note']}".rstrip())


def status_of(path: Path | str) -> Status:
    """How far the run in a folder is.

    Raises:
        StoreError: for no run folder, or a damaged one.
    """
    with RunFolder.open(path) as folder:
        settings, records = folder.manifest.settings, folder.records
        methods = [str(one["method"]) for one in settings["certifiers"]]
        done = {method: len(records.decided(method)) for method in methods}
        if settings["attack"] is not None:
            attack = str(settings["attack"]["attack"])
            done[f"attack {attack}"] = len(records.attacked(attack))
        failed = [(one.index, one.reason) for one in records.with_verdict(Verdict.ERROR)]
        failed += [(one.index, f"attack {one.attack}: {one.error}") for one in records.unattacked()]
        expected = int(settings["inputs"])
    return Status(str(path), expected, done, tuple(failed[-ERRORS:]), len(failed), last_beat(Path(path)), time.time())
