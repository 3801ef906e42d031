"""A file beside the records that says, while a run goes on, how far it is: for whoever looks from elsewhere."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final

import msgspec

from certify.bounded.files import content_of
from certify.core.whole import write_whole
from certify.errors import one_line
from certify.process import age
from certify.progress.observer import Advance, Observer

__all__ = ["BEATS_WITHIN", "HEARTBEAT", "Heartbeat", "last_beat"]

HEARTBEAT: Final = "heartbeat.json"
"""The file in a run folder."""

PAUSE: Final = 1.0
"""Seconds between two beats: by time and not by results, because one input can take longer than silence may last."""

BEATS_WITHIN: Final = 120.0
"""Seconds after which a run that gave no sign is taken for one that stopped, where its process cannot be asked."""

WARNINGS: Final = 5
"""How many of the last warnings are kept."""

LONGEST: Final = 2**20
"""Bytes of the file at most."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
"""Since the epoch, within what a calendar holds."""

Many = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Stage(msgspec.Struct):
    what: str
    total: Many
    done: Many
    unit: str
    rate: Annotated[float, msgspec.Meta(ge=0, le=1e15)]
    note: str


class _Beat(msgspec.Struct, omit_defaults=True):
    """What the file holds: whoever handed the folder over may have written it."""

    pid: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    host: str
    beat: Seconds
    begun: Seconds = 0.0
    engine: str = ""
    warnings: list[str] = []
    stage: _Stage | None = None
    ended: str | None = None


_beat_in: Final = msgspec.json.Decoder(_Beat).decode


@dataclass(slots=True)
class Heartbeat:
    """Tells another observer everything, and writes down how far the run is. What cannot be written is left out.

    Inside its context it beats, from a thread of its own; the last beat says how the run ended.

    Args:
        inner: the observer that people watch.
        folder: the run folder.
        told: what else there is to know, such as the engine; plain values for JSON.
        now: the clock, in seconds since the epoch.
        ended: how the run ends where nothing is raised.
    """

    inner: Observer
    folder: Path
    told: dict[str, Any] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    ended: str = "at its end"
    state: dict[str, Any] = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _beating: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        process = {"pid": os.getpid(), "host": socket.gethostname(), "begun": self.now()}
        self.state = {**process, **self.told, "warnings": []}
        self._beating = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._write()
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._beating.join()
        if error is not None:
            self.ended = one_line(error) if isinstance(error, Exception) else "interrupted"
        self.state["ended"] = self.ended
        self._write()

    def announce(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self.inner.announce(text)

    def warn(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self.state["warnings"] = [*self.state["warnings"], text][-WARNINGS:]
        self.inner.warn(text)

    def detail(self, text: str) -> None:
        """See :class:`~certify.progress.observer.Observer`."""
        self.inner.detail(text)

    @contextmanager
    def stage(self, what: str, total: int, done: int = 0, unit: str = "inputs") -> Iterator[Advance]:
        """See :class:`~certify.progress.observer.Observer`."""
        begin, earlier = self.now(), done
        stage = {"what": what, "total": total, "done": done, "unit": unit, "rate": 0.0, "note": ""}
        self.state["stage"] = stage
        self._write()
        with self.inner.stage(what, total, done, unit) as advance:

            def both(count: int, note: str) -> None:
                advance(count, note)
                finished = min(total, int(str(stage["done"])) + count)
                took = self.now() - begin
                rate = (finished - earlier) / took if took > 0 else 0.0
                stage.update(done=finished, rate=rate, note=note)

            try:
                yield both
            finally:
                self._write()

    def _go_on(self) -> None:
        while not self._over.wait(PAUSE):
            self._write()

    def _write(self) -> None:
        # A full disk: the records say so, and this is no record.
        with self._writing, suppress(OSError):
            write_whole(self.folder / HEARTBEAT, json.dumps({**self.state, "beat": self.now()}))


def last_beat(folder: Path, now: float | None = None) -> dict[str, Any]:
    """What the last run in a folder said of itself, with ``"alive"``: whether it still goes on. Empty for no word.

    The process is asked for where it runs on this machine; elsewhere, silence of two minutes counts as the end.
    """
    try:
        said = _beat_in(content_of(folder / HEARTBEAT, LONGEST))
    except (OSError, msgspec.MsgspecError, RecursionError, ValueError):
        return {}
    if said.ended is not None:
        alive = False
    elif said.host == socket.gethostname():
        alive = _runs(said.pid, said.beat)
    else:  # clocks differ a little, but nobody has beaten in the future
        alive = abs((time.time() if now is None else now) - said.beat) < BEATS_WITHIN
    return msgspec.to_builtins(said) | {"alive": alive}


def _runs(pid: int, beat: float) -> bool:
    """Whether the process that beat then goes on: one that was started later only got its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's process
        pass
    old = age(pid)
    return old is None or time.time() - old <= beat
