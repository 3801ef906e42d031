"""Nonconformity scores under noise: a median, and what a binary certificate leaves of it within a radius."""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor

from certify.core.rounding import brief
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.sets.scores import Score, leads
from certify.smoothing.noise.base import Noise
from certify.smoothing.sampler import in_batches_that_fit
from certify.smoothing.streams import BLOCK, Stream
from certify.smoothing.theorem import Theorem
from certify.stats.binomial import binomial_at_least, binomial_at_most

__all__ = ["SAMPLES", "VotedScores", "share_of"]

SAMPLES: Final = 150
"""Draws about each input where nobody says how many: as many as in Zargarbashi and Bojchevski (2025)."""

MOST_SAMPLES: Final = 100_000
"""Draws about each input that are held at a time, at most."""

NUMBERS: Final = 2**24
"""Differences of scores that are held at a time; as many as a draw has, K (K - 1), where these are more."""

_SHARE: Final = Fraction(1, 20)
"""Share of the allowed failures of coverage that pays for each of the two ends."""

_CALIBRATION, _SETS = "conformal-calibration", "conformal-sets"
"""Streams of noise. Two, because whoever changes an input may know the noise about calibration inputs, and pick one."""


def share_of(coverage: Fraction) -> Fraction:
    """What each of the two ends may fail with.

    >>> share_of(Fraction(9, 10))
    Fraction(1, 200)
    """
    return (1 - coverage) * _SHARE


@dataclass(frozen=True, slots=True, eq=False)
class VotedScores:
    """The median of a classifier's nonconformity scores under noise, from ``samples`` draws about each input.

    For a threshold t, a draw votes for class y where its score of y is at most t: a binary vote, which one certificate
    serves for all inputs and classes (Zargarbashi and Bojchevski 2025, BinCP). The score of an input here is its
    median, ``S(x, y) = inf {t: P[s(x + noise, y) <= t] >= 1/2}``, so that at S(X, Y) a share of at least 1/2 votes for
    Y about X.

    *The certificate.* Let E be "votes for Y at S(X, Y)", with probability at least 1/2 about X, and let m be the
    largest probability of missing a class that still proves the radius r, ``theorem.most_missed(r)``. Were E less
    probable than m about a point x' within r of X, its complement would be missed with less than m there. Radii grow
    strictly as that probability falls, so the complement would win within a radius above r of x', about X too, and E
    would have less than 1/2. So P[E about x'] >= m. Of a law this uses its radius theorem for two classes, no more.

    *The draws.* Both ends are order statistics of n = ``samples`` scores. The j-th smallest about X is below S(X, Y)
    only if j draws are, each with probability at most 1/2: j is the least with ``P[Binomial(n, 1/2) >= j] <= each``.
    The l-th smallest about x' is above S(X, Y) only if fewer than l draws are in E: l is the largest with
    ``P[Binomial(n, m) < l] <= each``. Both tails are exact and rounded up (Clopper and Pearson 1934). Class y is in the
    set where at least l draws vote for it. Draws whose scores are NaN or infinite vote for every class, and count as
    infinite in calibration.

    Args:
        classifier: the base classifier; any function will do.
        theorem: the noise law and its theorem. Draws have to follow the law, about any input.
        score: the nonconformity score of one draw.
        samples: draws about each input.
        each: probability with which each of the two ends may fail.
        seed: master seed of the noise.

    Raises:
        BadInput: for a law about inputs on a grid alone, fewer samples than any upper end takes, or more than are held.
    """

    classifier: Classifier
    theorem: Theorem
    score: Score
    samples: int
    each: Fraction
    seed: int

    def __post_init__(self) -> None:
        law, dimensions = self.law, self.theorem.dimensions
        if self.theorem.slack > 0 or law.total_variation(dimensions) > 0:
            raise BadInput(f"{law.name} noise is about inputs on a grid, and changed inputs lie off it: use gaussian")
        if self.samples > MOST_SAMPLES:
            raise BadInput(f"samples={self.samples} is more than the {MOST_SAMPLES:,} draws that sets are made from")
        if self._upper > self.samples:
            enough = math.ceil(-math.log2(self.each))
            raise BadInput(
                f"samples={self.samples} bound no median at this coverage: at least {enough} do, 150 is usual"
            )

    @property
    def law(self) -> Noise:
        """The noise that is added.

        Raises:
            BadInput: for a law that hides features in place of adding to them.
        """
        if not isinstance(law := self.theorem.noise, Noise):
            raise BadInput(f"sets from votes are for noise that is added, not for {law.name}: use gaussian, or bounds")
        return law

    @property
    def paid(self) -> Fraction:
        """One share for the upper end about X, which nobody computes, and one for the lower end about x'."""
        return 2 * self.each

    @property
    def method(self) -> str:
        """The draws and their law."""
        return f"{self.samples:,} draws of {self.law.name} noise, sigma={self.law.sigma:g}"

    @property
    def pinned(self) -> Mapping[str, Any]:
        """The draws, and which generator made them."""
        return {"samples": self.samples, "generator": self._stream(_SETS, (1,)).generator}

    @property
    def unknown(self) -> str:
        """Noise that is known can be evaded."""
        return "the noise about the changed input, which is drawn after it"

    @property
    def _most(self) -> float:
        """A float that is not above the share of an end."""
        return math.nextafter(float(self.each), 0.0)

    @property
    def _upper(self) -> int:
        """Which order statistic is the upper end; above ``samples`` if none is."""
        return _upper_place(self.samples, self._most)

    def lower(self, radius: float) -> int:
        """How many draws have to vote for a class: which order statistic is the lower end; 0 if none is."""
        return _lower_place(self.samples, self._most, self.theorem.most_missed(radius))

    def shortfall(self, radius: float) -> str:
        """Where even draws that all vote against a class do not rule it out, and how many would."""
        if self.lower(radius):
            return ""
        m = self.theorem.most_missed(radius)
        enough = math.ceil(math.log(self.each) / math.log1p(-m)) if m > 0 else 0
        more = f"{enough:,} draws can do" if 0 < enough < 10**7 else "no number of draws can do"
        return f"{self.samples:,} draws cannot rule out any class at radius {brief(radius)}; {more}"

    def calibrate(self, x: Tensor, labels: Sequence[int], digests: Sequence[str]) -> list[float]:
        """Upper ends; see :class:`~certify.sets.scorer.Scorer`."""
        stream, found = self._stream(_CALIBRATION, tuple(x.shape[1:])), []
        for one, label, digest in zip(x, labels, digests, strict=True):
            drawn = self._drawn(stream, one, digest, label)
            found.append(float(torch.where(drawn.isfinite(), drawn, torch.inf).sort().values[self._upper - 1]))
        return found

    def lowest(self, x: Tensor, radius: float, digests: Sequence[str], labels: Sequence[int] | None = None) -> Tensor:
        """Lower ends; see :class:`~certify.sets.scorer.Scorer`."""
        place, classes = self.lower(radius), self.classifier.num_classes
        if place == 0:
            return torch.full((len(x), classes if labels is None else 1), -torch.inf, dtype=torch.float64)
        stream, found = self._stream(_SETS, tuple(x.shape[1:])), []
        for row, (one, digest) in enumerate(zip(x, digests, strict=True)):
            drawn = self._drawn(stream, one, digest, None if labels is None else labels[row])
            found.append(torch.where(drawn.isfinite(), drawn, -torch.inf).sort(dim=0).values[place - 1])
        return torch.stack(found).reshape(len(x), -1)

    def highest(self, x: Tensor, labels: Sequence[int], radius: float) -> None:
        """Draws prove nothing for certain."""
        return

    def _stream(self, stage: str, shape: tuple[int, ...]) -> Stream:
        return Stream(self.theorem.noise, shape, seed=self.seed, stage=stage, device=self.classifier.device)

    def _drawn(self, stream: Stream, x: Tensor, digest: str, label: int | None = None) -> Tensor:
        """Scores (samples, K) about one input (...), float64, or (samples,) of a label; NaN where not all are finite.

        A block of noise is one batch, so that they do not depend on other inputs.
        """
        centre = x.to(self.classifier.device)

        def ask(size: int) -> Tensor:
            parts = []
            for start in range(0, self.samples, size):
                noisy = torch.empty((min(size, self.samples - start), *x.shape), device=centre.device)
                stream.perturb(centre, digest, start, out=noisy)
                parts.append(self.classifier.base.scores(noisy))
            return torch.cat(parts)

        with torch.inference_mode():
            scores = in_batches_that_fit(self.classifier, BLOCK, ask).double()
            finite = scores.isfinite().all(dim=1)
            if label is not None:
                found = self.score.of(leads(scores, torch.full((len(scores),), label, device=scores.device)))
                return torch.where(finite, found, torch.nan).cpu()
            rows = max(1, NUMBERS // scores.shape[1] ** 2)
            found = torch.cat([self.score.of(leads(part)) for part in scores.split(rows)])
            return torch.where(finite.unsqueeze(1), found, torch.nan).cpu()


@functools.lru_cache(maxsize=64)
def _upper_place(n: int, most: float) -> int:
    """The least j with ``P[Binomial(n, 1/2) >= j] <= most``."""
    return bisect_left(range(n + 1), True, key=lambda j: binomial_at_least(j, n, 0.5) <= most)


@functools.lru_cache(maxsize=256)
def _lower_place(n: int, most: float, p: float) -> int:
    """The largest l up to n with ``P[Binomial(n, p) < l] <= most``."""
    return bisect_left(range(n), True, key=lambda k: binomial_at_most(k, n, p) > most)
