"""From bounds on class probabilities to a radius and back, for one noise law."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from certify.smoothing.noise.base import Law

__all__ = ["Theorem"]


@dataclass(frozen=True, slots=True)
class Theorem:
    """The radius theorem of a noise law, for inputs of one size.

    A law that counts positions has to know those of the inputs, see :meth:`Law.about`.

    >>> from certify.smoothing.noise.gaussian import Gaussian
    >>> theorem = Theorem(Gaussian(0.5), "l2", dimensions=16)
    >>> theorem.radius(0.1, 0.1)
    0.64077...
    >>> theorem.most_missed(0.64)
    0.10027...
    """

    noise: Law
    norm: str
    dimensions: int

    @property
    def slack(self) -> float:
        """What is subtracted from every radius; see :meth:`Law.slack`."""
        return self.noise.slack(self.dimensions, self.norm)

    def radius(self, q_upper: float, rival_upper: float) -> float | None:
        """The proven radius, rounded down, or None where the class is not proven to win.

        Args:
            q_upper: upper bound on the probability of missing the class.
            rival_upper: upper bound on the probability of every other class.
        """
        if q_upper + rival_upper >= 1.0:
            return None
        radius = self.noise.radius(q_upper, rival_upper, self.norm)
        if self.slack > 0.0:
            radius = math.nextafter(radius - self.slack, -math.inf)
        return radius if radius >= 0.0 else None

    def most_missed(self, radius: float) -> float:
        """The largest probability of missing the class that still proves ``radius``; 0 if none does."""
        return _most_missed(self, radius)


@functools.lru_cache(maxsize=256)
def _most_missed(theorem: Theorem, radius: float) -> float:
    proving, failing = 0.0, 0.5
    while (middle := (proving + failing) / 2.0) not in (proving, failing):
        proven = theorem.radius(middle, middle)
        if proven is not None and proven >= radius:
            proving = middle
        else:
            failing = middle
    return proving
