"""Is a fall of accuracy over the strength of a corruption graceful or sudden?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.stressed import Fall
from certify.stats.falls import fall_interval
from certify.stats.paired import PairedCounts
from certify.stats.simultaneous import share

__all__ = ["FLAT", "STEEP", "fall_of", "level_of"]

STEEP: Final = 2.0
"""A fall is sudden where its steepest part is steeper than this many times the whole."""

FLAT: Final = 0.05
"""A whole fall of no more than this is none to speak of."""


def level_of(delta: float, corruptions: int) -> float:
    """The error of each interval: five steps and the whole fall of each corruption hold at once."""
    return share(delta, 6 * corruptions)


def fall_of(
    name: str, right: NDArray[np.bool_], strengths: tuple[float, ...], amounts: Mapping[float, str], level: float
) -> Fall:
    """The steepest fall between neighbouring strengths, and what the intervals show of its shape.

    Args:
        name: of the corruption.
        right: (n, 6) whether each input is answered correctly, from no corruption to severity 5.
        strengths: 0 and those of the severities.
        amounts: the same in words.
        level: error probability of each interval.
    """
    whole = PairedCounts.of(right[:, 0].tolist(), right[:, -1].tolist())
    low, high = fall_interval(whole, level)
    steps = []
    for place in range(5):
        counts = PairedCounts.of(right[:, place].tolist(), right[:, place + 1].tolist())
        part = (strengths[place + 1] - strengths[place]) / strengths[-1]
        steps.append((0.0 - counts.difference, *fall_interval(counts, level), part, place))
    # The steepest is chosen by looking; its interval holds all the same, because all of them hold at once.
    step, lower, upper, part, place = max(steps, key=lambda one: (one[0] / one[3], -one[4]))
    if high <= FLAT:
        shape = "flat"
    elif any(one[1] / one[3] > STEEP * max(high, 0.0) for one in steps):
        shape = "sudden"
    elif all(one[2] / one[3] <= STEEP * low for one in steps):
        shape = "graceful"
    else:
        shape = "open"
    ends = amounts[strengths[place]], amounts[strengths[place + 1]]
    return Fall(name, ends, step, lower, upper, part, 0.0 - whole.difference, low, high, shape)
