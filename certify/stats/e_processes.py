"""E-processes: evidence against a hypothesis that may be looked at after every observation, for ever.

An e-process starts at 1, is never negative, and is not expected to grow while the hypothesis holds, whatever came
before. By Ville's inequality it *ever* reaches 1/alpha with probability at most alpha: nobody has to say beforehand
when to look, or when to stop.

Here it is a capital that bets. Each bet multiplies its part by a *factor* of the next observation whose expectation
under the hypothesis is at most 1, and parts *jump* between bets at a fixed rate, so that an old capital that shrank
while nothing was wrong does not weigh on the search for a change (the Simple Jumper of Vovk et al. 2021, "Retrain or
not retrain"). The capital is the mean over several rates. What is bet depends on earlier observations alone.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify.errors import BadInput

__all__ = [
    "RISES",
    "ROUNDING",
    "SLOPES",
    "Capital",
    "is_tolerance",
    "log_threshold",
    "rank_factors",
    "risk_factors",
    "smoothed_p",
    "uniform",
]

RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5)
"""Shares of a capital that jump at each observation: about one over the number of observations before a change."""

RISES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Bets against a risk: each is the best one where the true risk lies so far on the way from the tolerance to 1."""

SLOPES: Final = (0.0, -0.5, 0.5, -1.0, 1.0, -2.0, 2.0)
"""Bets against uniform ranks: the slope of each bet's density; negative ones expect small ranks."""

ROUNDING: Final = 1e-13
"""What the rounding of one observation may add to a logarithm, with room to spare: about thirty float64 operations on
positive numbers, each off by 1.2e-16 relative, and one logarithm. An alarm takes that much more for each of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Capital:
    """The capital of one e-process, or of many at once.

    Args:
        parts: (..., rates, bets), shares of the whole that sum to 1.
        log_e: (...), natural logarithm of the whole.
        steps: observations so far.

    >>> capital = Capital.of(len(RISES))
    >>> for loss in [1, 0, 1, 1, 1, 1, 1, 1]:
    ...     capital = capital.after(risk_factors(loss, 0.1))
    >>> bool(capital.log_e > log_threshold(0.05, capital.steps))
    True
    """

    parts: NDArray[np.float64]
    log_e: NDArray[np.float64]
    steps: int

    @classmethod
    def of(cls, bets: int, lives: tuple[int, ...] = ()) -> Capital:
        """The capital 1, in equal parts."""
        parts = np.full((*lives, len(RATES), bets), 1 / (len(RATES) * bets))
        return cls(parts, np.zeros(lives), 0)

    def after(self, factors: NDArray[np.float64]) -> Capital:
        """The capital after one more observation, whose ``factors`` are (..., bets)."""
        rates, bets = np.reshape(RATES, (-1, 1)), self.parts.shape[-1]
        jumped = (1 - rates) * self.parts + rates / bets * self.parts.sum(axis=-1, keepdims=True)
        parts = jumped * factors[..., None, :]
        whole = parts.sum(axis=(-2, -1))
        return Capital(parts / whole[..., None, None], self.log_e + np.log(whole), self.steps + 1)


def log_threshold(alpha: float, steps: int) -> float:
    """What the logarithm of an e-process has to exceed after so many observations, for an alarm at level alpha.

    It is ``log(1/alpha)``, and what rounding may have added on the way: rounding raises no alarm.

    >>> log_threshold(0.05, 0)
    2.9957...
    """
    return math.nextafter(-math.log(alpha), math.inf) + ROUNDING * (steps + 1)


def is_tolerance(value: float) -> bool:
    """Whether a process can watch for a risk above ``value``: strictly between 0 and 1, and with an inverse in float64.

    >>> is_tolerance(0.05), is_tolerance(1.0), is_tolerance(1e-320), is_tolerance(math.nan)
    (True, False, False, False)
    """
    return sys.float_info.min <= value < 1


def risk_factors(loss: ArrayLike, tolerance: float) -> NDArray[np.float64]:
    """Factors (..., bets) of losses (...) in [0, 1] against "the expected loss is at most ``tolerance``".

    A bet of ``c`` has the factor ``1 + (c / tolerance) (loss - tolerance)``, which is never negative, and at most 1 in
    expectation (Waudby-Smith and Ramdas 2024; Podkopaev and Ramdas 2022). For losses of 0 and 1 it is the likelihood
    ratio of the risk ``tolerance + c (1 - tolerance)`` and the tolerance.

    Raises:
        BadInput: for a tolerance outside (0, 1), or a loss outside [0, 1]; NaN included.

    >>> (0.1 * risk_factors(1, 0.1) + 0.9 * risk_factors(0, 0.1)).round(12)
    array([1., 1., 1., 1., 1., 1., 1.])
    """
    if not is_tolerance(tolerance):
        raise BadInput(f"a tolerance lies strictly between 0 and 1, got {tolerance}; 0.05 is one error in 20")
    losses = np.asarray(loss, dtype=np.float64)
    if not ((losses >= 0) & (losses <= 1)).all():
        raise BadInput("a loss lies between 0 and 1")
    bets = np.array(RISES)
    return (1 - bets) + bets * (losses[..., None] / tolerance)


def rank_factors(p: ArrayLike) -> NDArray[np.float64]:
    """Factors (..., bets) of p-values (...) against "they are independent and uniform": ``1 + slope (p - 1/2)``.

    >>> (rank_factors(0.25) + rank_factors(0.75)) / 2
    array([1., 1., 1., 1., 1., 1., 1.])
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise BadInput("a p-value lies between 0 and 1")
    return 1 + np.array(SLOPES) * (values[..., None] - 0.5)


def smoothed_p(less: ArrayLike, equal: ArrayLike, seen: ArrayLike, theta: ArrayLike) -> NDArray[np.float64]:
    """The smoothed conformal p-value of a score among all scores so far: its rank, as a share.

    Where the scores are exchangeable and ``theta`` is uniform and independent of them, the p-values of one score after
    the other are independent and uniform on [0, 1] (Vovk, Gammerman and Shafer 2022, Theorem 11.1).

    Args:
        less, equal: how many of the ``seen`` earlier scores are below the new one, and how many are the same.
        seen: earlier scores, all of them: those of the run's inputs, then those of the stream.
        theta: in [0, 1), for the places among equal ones.

    >>> float(smoothed_p(0, 0, 9, 0.5)), float(smoothed_p(9, 0, 9, 0.5))
    (0.05, 0.95)
    """
    places = np.asarray(less) + np.asarray(theta) * (np.asarray(equal) + 1)
    return np.asarray(places / (np.asarray(seen) + 1), dtype=np.float64)


def uniform(*key: object) -> float:
    """A number in [0, 1) that a hash draws from ``key``: the same one whenever and wherever it is asked for.

    >>> uniform("run", 17) == uniform("run", 17), 0 <= uniform("run", 18) < 1
    (True, True)
    """
    drawn = hashlib.sha256("\n".join(map(str, key)).encode()).digest()
    return int.from_bytes(drawn[:8], "big") // 2**11 / 2**53
