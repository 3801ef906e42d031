"""How far a stage of long work is, in words that fit a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Stage", "clock"]

_GAP: Final = "  "
"""Between two parts of a line."""
_SHORTEST_BAR, _LONGEST_BAR = 8, 40
"""Characters: a shorter bar says nothing, a longer one no more."""
_SILENT_SECONDS: Final = 10.0
"""Without a result for so long, a line says how long it has been."""


@dataclass(slots=True)
class Stage:
    """A stage of ``total`` units, of which ``earlier`` were finished before it began.

    Args:
        what: what is done.
        total, earlier: units in all, and those finished before.
        unit: what they are.
        begin: when it began, in seconds on any clock.
        done: units finished, the earlier ones included.
        note: what there is to say about the results, its parts two spaces apart.
    """

    what: str
    total: int
    earlier: int
    unit: str
    begin: float
    done: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        self.done = self.earlier

    def advance(self, count: int, note: str) -> None:
        """Count more units as finished. After an interruption some finish twice, so ``done`` stops at ``total``."""
        self.done = min(self.total, self.done + count)
        self.note = note

    def line(self, now: float, width: int | None = None) -> str:
        """What, how many, and the time left; then what else fits into ``width`` columns: results, rate, a bar.

        >>> stage = Stage("certifying (ibp)", 500, 0, "inputs", begin=0.0)
        >>> stage.advance(100, "80.0% certified at 0.25")
        >>> stage.line(now=10.0)
        'certifying (ibp)  100/500  ETA 0:40  80.0% certified at 0.25  10.0 inputs/s'
        >>> stage.line(now=10.0, width=58)
        'certifying (ibp)  100/500  ETA 0:40  10.0 inputs/s'
        >>> stage.line(now=10.0, width=60)
        'certifying (ibp)  100/500  ETA 0:40  80.0% certified at 0.25'

        Before the first result nothing is known of the rest, but the line still moves:

        >>> Stage("attacking (pgd)", 20, 0, "inputs", begin=0.0).line(now=70.0)
        'attacking (pgd)  0/20  ETA -:--  1:10 so far'
        """
        took = now - self.begin
        speed = (self.done - self.earlier) / took if took > 0 else 0.0
        left = self.total - self.done
        eta = f"ETA {clock(left / speed)}" if speed else "ETA -:--"
        time_left = eta if left else f"in {clock(took)}"
        line = _GAP.join([self.what, f"{self.done}/{self.total}", time_left])
        rate = [f"{speed:.{1 if speed >= 1 else 2}f} {self.unit}/s"] if speed else []
        waited = [f"{clock(took)} so far"] if left and not speed and took >= _SILENT_SECONDS else []
        for part in [*filter(None, self.note.split(_GAP)), *rate, *waited]:
            if width is None or len(line) + len(_GAP) + len(part) <= width:
                line += _GAP + part
        room = 0 if width is None else width - len(line) - len(_GAP)
        if room < _SHORTEST_BAR:
            return line
        return line + _GAP + _bar(self.done / self.total if self.total else 1.0, min(room, _LONGEST_BAR))


def clock(seconds: float) -> str:
    """A duration as a clock shows it.

    >>> clock(59.9), clock(3661)
    ('0:59', '1:01:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(share: float, length: int) -> str:
    full = int(share * length)
    return "#" * full + "-" * (length - full)
