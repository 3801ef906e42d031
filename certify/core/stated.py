"""What others state about how far an input is robust: verdicts at radii, and the bracket that they leave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Bracket", "Robustness", "Stated"]

Robustness = Literal["robust", "not robust", "unknown"]


@dataclass(frozen=True, slots=True)
class Stated:
    """What a table states about an input at one radius, and in which line."""

    eps: float
    verdict: Robustness
    line: int


@dataclass(frozen=True, slots=True)
class Bracket:
    """All that a table states about one input; the ends may contradict each other.

    Args:
        index: its position in the data set.
        label: its class; None where the table has none.
        stated: by ascending radius.
    """

    index: int
    label: int | None
    stated: tuple[Stated, ...]

    @property
    def verified(self) -> float | None:
        """The largest radius at which it is called robust; None where there is none."""
        return max((one.eps for one in self.stated if one.verdict == "robust"), default=None)

    @property
    def falsified(self) -> float | None:
        """The smallest radius at which it is called not robust; None where there is none."""
        return min((one.eps for one in self.stated if one.verdict == "not robust"), default=None)

    @property
    def ends(self) -> tuple[float, float]:
        """The same as numbers: 0 where nothing is called robust, infinite where nothing is called not robust."""
        low, high = self.verified, self.falsified
        return (0.0 if low is None else low), (math.inf if high is None else high)
