"""What rules need of the records themselves: votes, costs and reasons, input by input."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from flint import arb
from numpy.typing import NDArray

from certify.checker.laws import LAWS
from certify.core.certificate import Certificate
from certify.core.evidence import Sampled
from certify.core.rounding import one_in
from certify.core.verdict import Verdict
from certify.stats.binomial import clopper_pearson_upper

__all__ = ["Sampling", "Spent", "Votes", "spent_and_votes"]

_LATE: Final = "time limit"
"""What a certifier that ran out of time says in its reason."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How votes were drawn.

    Args:
        noise: the law.
        measure: its scale sigma; of ablation, positions and how many of them are kept.
        looks: (n, alpha) of every look that the schedule had.
        alpha: of each certificate.
        places: how many classes may be at the top of the votes.
    """

    noise: str
    measure: Any
    looks: tuple[tuple[int, float], ...]
    alpha: float
    places: int = 1

    @property
    def n(self) -> int:
        """The most samples of an input."""
        return self.looks[-1][0]

    @property
    def additive(self) -> bool:
        """Whether the law has a scale sigma."""
        return not isinstance(self.measure, tuple)

    @property
    def sigma(self) -> float:
        """The scale of additive noise."""
        return float(self.measure)

    @property
    def gaussian(self) -> bool:
        """Whether recipes that train on Gaussian noise train for this law."""
        return self.noise in ("gaussian", "gaussian-grid")

    def radius(self, misses: int, n: int, alpha: float) -> float:
        """The radius of an input whose class missed so many of n votes, by the law's theorem; 0 for none."""
        q = clopper_pearson_upper(misses, n, alpha)
        least = one_in(self.places + 1)
        if self.noise not in LAWS or q + least >= 1:
            return 0.0
        law = LAWS[self.noise]
        found = (
            law.above(self.measure, arb(q), arb(least)) if self.places > 1 else law.radius(self.measure, arb(q), arb(q))
        )
        return max(0.0, float(found.lower()))

    @property
    def cap(self) -> float:
        """The largest radius that any input can have: that of unanimous votes."""
        return max(self.radius(0, n, alpha) for n, alpha in self.looks if alpha > 0)

    def samples_for(self, radius: float) -> float:
        """How many unanimous votes a radius takes at this sigma, at one look (Gaussian noise)."""
        least = NormalDist().inv_cdf(1 / (self.places + 1))
        q = math.erfc((radius / self.sigma + least) / math.sqrt(2)) / 2
        return math.log(self.alpha) / math.log1p(-q) if q > 0 else math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """The votes of each input, by ascending position.

    Args:
        index: positions.
        first: share of the votes of the first look that the label got. That look was fixed beforehand: the mean is
            an unbiased estimate of the accuracy of the base model under noise.
        n, label, rival: votes so far, those for the label, and those for the class with most others.
        sampling: how they were drawn.
    """

    index: NDArray[np.int64]
    first: NDArray[np.float64]
    n: NDArray[np.int64]
    label: NDArray[np.int64]
    rival: NDArray[np.int64]
    sampling: Sampling

    @property
    def accuracy(self) -> float:
        """Accuracy of the base model under noise."""
        return float(self.first.mean())

    def accuracy_within(self, delta: float = 0.05) -> tuple[float, float]:
        """Limits of it for the population of the inputs (Hoeffding 1963: shares lie in [0, 1])."""
        half = math.sqrt(math.log(2 / delta) / (2 * len(self.first)))
        return max(0.0, self.accuracy - half), min(1.0, self.accuracy + half)

    @property
    def ahead(self) -> NDArray[np.bool_]:
        """Whether the label has more votes than any other class."""
        return self.label > self.rival

    def projected(self, n: int) -> NDArray[np.float64]:
        """The radius of each input after n votes, if they keep the shares that they have, at one look."""
        misses = np.ceil((self.n - self.label) * (n / self.n)).astype(int)
        return np.array([self.sampling.radius(min(int(one), n), n, self.sampling.alpha) for one in misses])


@dataclass(frozen=True, slots=True)
class Spent:
    """What certificates cost, and why some are none.

    Args:
        passes: forward passes of all.
        late: how many inputs ran out of time.
        reasons: of computations that failed, with how often each occurs.
    """

    passes: int
    late: int
    reasons: Counter[str]


def spent_and_votes(certificates: Iterable[Certificate]) -> tuple[Spent, Votes | None]:
    """Costs and reasons of all certificates, and votes where there are any."""
    passes, late, reasons = 0, set[int](), Counter[str]()
    rows, sampling = [], None
    for one in certificates:
        passes += one.forward_passes
        evidence = one.evidence
        if one.verdict.failed:
            reasons[one.reason] += 1
        elif one.verdict is not Verdict.CERTIFIED and _LATE in f"{one.reason} {getattr(evidence, 'reason', '')}":
            late.add(one.index)
        if isinstance(evidence, Sampled) and one.label is not None:
            last, begin = evidence.looks[-1], evidence.looks[0]
            others = [count for label, count in last.counts.items() if label != one.label]
            own = last.counts.get(one.label, 0)
            rows.append((one.index, begin.counts.get(one.label, 0) / begin.n, last.n, own, max(others, default=0)))
            looks = (*((look.n, look.alpha) for look in evidence.looks), *evidence.later)
            sampling = Sampling(
                evidence.noise, evidence.measure(one.threat), looks, one.alpha or 0.0, one.property.places
            )
    spent = Spent(passes, len(late), reasons)
    if sampling is None:
        return spent, None
    index, first, n, label, rival = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return spent, Votes(index, first, n, label, rival, sampling)
