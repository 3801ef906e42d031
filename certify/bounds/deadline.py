"""Time limits that bounds and searches check between pieces of work."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from certify.core.values import number
from certify.errors import BadInput, CertifyError

__all__ = ["NEVER", "Deadline", "OutOfTime"]


class OutOfTime(CertifyError):
    """The time limit passed during a piece of work; results before it remain with the caller."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time limit in seconds that starts when this is created; infinite for no limit.

    Raises:
        BadInput: for a limit that is no number, or not above 0.

    >>> Deadline(60.0).passed
    False
    """

    seconds: float
    begin: float = field(default_factory=lambda: time.monotonic())  # noqa: PLW0108 (the clock of now)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", number("timeout", self.seconds))
        if not self.seconds > 0:  # NaN is not
            raise BadInput(f"the time limit must be above 0 seconds, got {self.seconds}")

    @property
    def left(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self.begin + self.seconds - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.left == 0

    def part(self, share: float, most: float = math.inf) -> Deadline:
        """A share of what is left, and no more than ``most`` seconds; over at once if nothing is left."""
        return Deadline(max(min(self.left * share, most), 1e-9))

    def check(self) -> None:
        """Check the limit, between two pieces of work.

        Raises:
            OutOfTime: if the time is over.
        """
        if self.passed:
            raise OutOfTime(f"the time limit of {self.seconds:g} s was used up")


NEVER = Deadline(math.inf)
"""No time limit."""
