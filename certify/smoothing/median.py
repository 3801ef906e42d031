"""Percentile smoothing of a model of one number: its median under noise, and where every nearby median lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.smoothing.sampler import Ballot, Sampler
from certify.smoothing.theorem import Theorem
from certify.stats.order import rank_below

__all__ = ["SmoothedNumber", "medians"]


@dataclass(frozen=True, slots=True)
class SmoothedNumber:
    """What is known of the median of a model's outputs under noise, about one input.

    Args:
        value: the median of the samples: what the smoothed model answers. Another draw gives another number.
        intervals: (radius, low, high) for each declared radius: at the input and at every input within the radius, the
            *true* median under the noise lies from low to high. Infinite where the samples do not show an end.
    """

    value: float
    intervals: tuple[tuple[float, float, float], ...]

    def __str__(self) -> str:
        ends = ", ".join(f"from {low:.6g} to {high:.6g} within {radius:g}" for radius, low, high in self.intervals)
        return f"{self.value:.6g}; its true value lies {ends}"


def medians(sampler: Sampler, theorem: Theorem, n: int, alpha: float, radii: Sequence[float]) -> list[SmoothedNumber]:
    """The smoothed numbers of the sampler's inputs (Chiang et al. 2020, percentile smoothing, Lemma 1).

    Let q be the largest probability of missing an event that a shift by the radius keeps above one half; for Gaussian
    noise it is Phi(-radius / sigma). Below t there is at most q of the probability for every t up to the q-quantile of
    the outputs, so within the radius more than half lies at t or above it, and so does the median. The same holds from
    above. Order statistics bound both quantiles exactly. An output of NaN or infinity counts as the smallest number for
    the lower end, and as the largest one for the upper.

    Args:
        sampler: of a model of one number.
        theorem: the radius theorem.
        n: samples for each input.
        alpha: probability that one of the ends of an input is wrong; each has an equal part.
        radii: the declared radii.
    """
    each = alpha / (2 * len(radii)) * (1.0 - 2.0**-50)
    ranks = [(radius, rank_below(n, theorem.most_missed(radius), each)) for radius in radii]
    outputs = sampler.outputs("prediction", [Ballot(row, 0, n) for row in range(len(sampler))])
    return [_number(one[:, 0].double().numpy(), ranks) for one in outputs]


def _number(outputs: NDArray[np.float64], ranks: Sequence[tuple[float, int]]) -> SmoothedNumber:
    finite = np.isfinite(outputs)
    rising = np.sort(np.where(finite, outputs, -np.inf))
    falling = np.sort(np.where(finite, outputs, np.inf))[::-1]
    valid = np.sort(outputs[finite])
    value = float(valid[(len(valid) - 1) // 2]) if len(valid) else math.nan

    def end(ordered: NDArray[np.float64], rank: int, none: float) -> float:
        return float(ordered[rank - 1]) if rank else none

    found = ((radius, end(rising, rank, -math.inf), end(falling, rank, math.inf)) for radius, rank in ranks)
    return SmoothedNumber(value, tuple(found))
