"""What each noise law proves, restated from its theorem in ball arithmetic, apart from the code that certifies.

Every function returns a ball that contains the exact value; what is counted is decided in fractions. Nothing is
imported from the certifier but the tail of the binomial distribution.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
from flint import arb

from certify.core.threats.base import Threat
from certify.core.threats.transform import Transform

__all__ = ["LAWS", "Law", "most_changed"]


def _nothing(*_: Any) -> arb:
    return arb(0)


@dataclass(frozen=True, slots=True)
class Law:
    """A noise law's theorem.

    Args:
        norms: the norms in which the radius is a theorem, or the threats whose radii it counts.
        radius: (measure, q, rival) to the radius: q bounds the probability of missing the class, rival that of every
            other class, and q + rival < 1. What a radius is measured by is sigma; for ablation, how many positions
            there are and how many are kept.
        above: (measure, q, least) to the radius within which a class that is missed with probability at most q stays
            more probable than ``least``, which is at most 1/2 and below 1 - q.
        slack: (dimensions) to the most distance between an input and the point that the noise is centred on.
        off: (measure) to the total variation distance of one drawn coordinate from the law.
        assumption: what is taken on trust about the draws. A wording that was ever recorded stays here beside the new.
        evidence: the kind of evidence that holds what a radius is measured by.
        added: whether the noise is added to numbers of any kind, so that it can be about the strength of a transform.
    """

    norms: tuple[str, ...]
    radius: Callable[[Any, arb, arb], arb]
    above: Callable[[Any, arb, arb], arb]
    assumption: tuple[str, ...]
    slack: Callable[[int], arb] = _nothing
    off: Callable[[Any], arb] = _nothing
    evidence: str = "smoothing"
    added: bool = True

    def silence(self, threat: Threat) -> str:
        """Why the theorem says nothing about the balls of a threat model, in words; empty where it does.

        About a transform by one strength it does if strengths add up: balls of one number are the same in every norm.
        """
        if isinstance(threat, Transform) and self.added:
            return "it is about one strength" if len(threat.parameters) != 1 else threat.unadditive
        if threat.norm not in self.norms:
            return f"its noise has no theorem in {threat.norm}"
        if threat.named and not threat.counted:
            return "its theorem is about balls in which all features count alike, and the threat model has a scale"
        return ""

    def trusted(self, threat: Threat) -> tuple[str, ...]:
        """What a certificate about a threat may take on trust."""
        more = f"; {_IN_FLOATS}" if isinstance(threat, Transform) else ""
        return tuple(f"{one}{more}" for one in self.assumption)


_IN_FLOATS: Final = "an input transformed in float32 stands for one transformed exactly"


def _cohen(sigma: float, q: arb, rival: arb) -> arb:
    """sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) with p_A = 1 - q and p_B = rival (Cohen et al. 2019, Theorem 1)."""
    return sigma * ((2 * q).erfcinv() + (2 * rival).erfcinv()) / arb(2).sqrt()


def _gaussian(sigma: float, q: arb, rival: arb) -> arb:
    """Cohen's radius for the smaller of sigma and the float32 by which draws are scaled."""
    return _cohen(min(sigma, float(np.float32(sigma))), q, rival)


def _twice(radius: Callable[[Any, arb, arb], arb]) -> Callable[[Any, arb, arb], arb]:
    """Two classes that move towards each other meet halfway; one that moves towards a fixed number goes all the way."""
    return lambda measure, q, least: 2 * radius(measure, q, least)


def _laplace_above(sigma: float, q: arb, least: arb) -> arb:
    """b (F^-1(1 - q) - F^-1(least)) for F(t) = 1 - exp(-t) / 2 where t >= 0, and F(-t) = 1 - F(t)."""
    b = float(np.float32(sigma / math.sqrt(2.0)))
    return b * (-(4 * q * least).log() if q <= 0.5 else ((1 - q) / least).log())


def _laplace(sigma: float, q: arb, rival: arb) -> arb:
    """b max{-log(1 - p_A + p_B), log(p_A / p_B) / 2} (Teng et al. 2020) for b = sigma / sqrt(2), drawn in float32."""
    b = float(np.float32(sigma / math.sqrt(2.0)))
    return b * (-(q + rival).log()).max(((1 - q) / rival).log() / 2)


def _uniform(sigma: float, q: arb, rival: arb) -> arb:
    """lambda (p_A - p_B) (Lee et al. 2019; Yang et al. 2020) for lambda = sqrt(3) sigma, drawn in float32."""
    return float(np.float32(sigma * math.sqrt(3.0))) * (1 - q - rival)


def most_changed(measure: tuple[int, int], lead: Fraction) -> int:
    """The most changed positions k for which a lead is more than 2 (1 - C(d - k, s) / C(d, s)), in whole numbers.

    Args:
        measure: d and s: positions, and how many are kept.
        lead: by how much the probability of the class exceeds that of every other one.

    A subset that avoids the changed positions shows the model what it saw before; all others may take a vote from the
    class and give it to a rival (Levine and Feizi 2020, Theorem 1).

    >>> most_changed((9, 2), Fraction(8, 10)), most_changed((9, 9), Fraction(1)), most_changed((9, 2), Fraction(4, 9))
    (1, 0, 0)
    """
    d, s = measure

    def fails(k: int) -> bool:
        # C(d - k, s) / C(d, s) is symmetric in k and s: a product of as many quotients as the smaller one says.
        less, more = sorted((k, s))
        avoiding, every = (math.prod(range(top - less + 1, top + 1)) for top in (max(d - more, 0), d))
        return k > d - s or not lead * every > 2 * (every - avoiding)

    most = 1
    while most < d and not fails(most):  # k far beyond the answer would take long products
        most *= 2
    return bisect.bisect_left(range(1, min(most, d) + 1), True, key=fails)


def _ablation(measure: tuple[int, int], q: arb, rival: arb) -> arb:
    """The most positions that may change; the bounds are floats, and so are exact fractions."""
    missed, won = (Fraction(float(one)) for one in (q, rival))
    return arb(most_changed(measure, 1 - missed - won))


def _ablation_above(measure: tuple[int, int], q: arb, least: arb) -> arb:
    """The most positions k with 1 - q - (1 - C(d - k, s) / C(d, s)) > least, which is what twice the lead pays for."""
    missed, rest = (Fraction(float(one)) for one in (q, least))
    return arb(most_changed(measure, 2 * (1 - missed - rest)))


def _to_grid(dimensions: int) -> arb:
    """The l2 distance from an input whose features lie within 2^-23 of some k/255 to that grid point."""
    return arb(dimensions).sqrt() / 2**23


@lru_cache(maxsize=32)
def _grid_off(sigma: float) -> arb:
    """What rounding the 510 thresholds P[K <= k] to multiples of 2^-62 costs: at most the sum of their errors.

    K counts steps of 1/255: P[K <= k] = Phi((k + 1/2) / (255 sigma)).
    """
    off = arb(0)
    for k in range(-255, 255):
        exact = 2**62 * (-(k + arb(0.5)) / (255 * arb(sigma)) / arb(2).sqrt()).erfc() / 2
        off += abs(exact - (exact + 0.5).mid().floor())
    return off / 2**62


LAWS: Final[Mapping[str, Law]] = {
    "ablation": Law(
        ("features", "categories", "substitutions"),
        _ablation,
        _ablation_above,
        ("the generator's bits are as good as independent and uniform",),
        evidence="ablation",
        added=False,
    ),
    "gaussian": Law(
        ("l2",),
        _gaussian,
        _twice(_gaussian),
        (
            "float32 noise and its rounded sum with the input stand for real-valued noise",  # as older runs say it
            "float32 noise, which ends near 5.8 sigma, and its rounded sum with the input stand for real-valued noise",
        ),
    ),
    "gaussian-grid": Law(
        ("l2",),
        _cohen,
        _twice(_cohen),
        (
            "the generator's bits are as good as independent and uniform; the base model is the network after rounding "
            "to the 1/255 grid and clipping to [0, 1]",
        ),
        _to_grid,
        _grid_off,
        added=False,
    ),
    "laplace": Law(
        ("l1",),
        _laplace,
        _laplace_above,
        (
            "float32 noise made of 24 random bits, which ends at 17 b, and its rounded sum with the input stand for "
            "real-valued noise",
        ),
    ),
    "uniform": Law(
        ("l1",),
        _uniform,
        _twice(_uniform),
        (
            "float32 noise, one of 2**24 equally spaced values from -lambda up to but not at lambda, and its rounded "
            "sum with the input stand for real-valued noise",
        ),
    ),
}
"""By the registered name. What is not listed is not confirmed."""
