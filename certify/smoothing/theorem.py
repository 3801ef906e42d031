"""From bounds on class probabilities to a radius and back, for one noise law."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from certify.core.rounding import one_in
from certify.smoothing.noise.base import Law

__all__ = ["Theorem"]


@dataclass(frozen=True, slots=True)
class Theorem:
    """The radius theorem of a noise law, for inputs of one size.

    A law that counts positions has to know those of the inputs, see :meth:`Law.about`. A class is kept while fewer
    others than ``places`` are more probable: that of the top class for 1, of the top k for k (Jia et al. 2020).

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
    places: int = 1

    @property
    def slack(self) -> float:
        """What is subtracted from every radius; see :meth:`Law.slack`."""
        return self.noise.slack(self.dimensions, self.norm)

    def radius(self, q_upper: float, rival_upper: float) -> float | None:
        """The proven radius, rounded down, or None where the class is not proven to win.

        Args:
            q_upper: upper bound on the probability of missing the class.
            rival_upper: upper bound on the probability of every other class, but for the ``places`` - 1 most
                probable ones.
        """
        shown = []
        if q_upper + rival_upper < 1.0:
            shown.append(self.noise.radius(q_upper, rival_upper, self.norm))
        # A class that is more probable than 1 / (k + 1) is among the k most probable: k + 1 such numbers exceed 1.
        if self.places > 1 and q_upper + (least := one_in(self.places + 1)) < 1.0:
            shown.append(self.noise.radius_above(q_upper, least, self.norm))
        if not shown:
            return None
        radius = max(shown)
        if self.slack > 0.0:
            radius = math.nextafter(radius - self.slack, -math.inf)
        return radius if radius >= 0.0 else None

    def most_missed(self, radius: float) -> float:
        """The largest probability of missing the class that still proves ``radius``; 0 if none does."""
        return _most_missed(self, radius)


@functools.lru_cache(maxsize=256)
def _most_missed(theorem: Theorem, radius: float) -> float:
    proving, failing = 0.0, 1.0 - 1.0 / (theorem.places + 1)
    while (middle := (proving + failing) / 2.0) not in (proving, failing):
        proven = theorem.radius(middle, middle)
        if proven is not None and proven >= radius:
            proving = middle
        else:
            failing = middle
    return proving
