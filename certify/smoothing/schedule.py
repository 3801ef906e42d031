"""When the votes are looked at, and the largest radius that this schedule can certify."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from certify.core.rounding import brief, round_down
from certify.core.threats.base import Threat
from certify.core.values import number, one_of, whole
from certify.errors import BadInput
from certify.smoothing.theorem import Theorem
from certify.stats.binomial import check_alpha, clopper_pearson_upper
from certify.stats.sequential import Looks, geometric_looks

__all__ = ["MOST_SAMPLES", "SCHEDULES", "Schedule", "Shares", "check_count", "largest_radius"]

SCHEDULES: Final = ("declared", "fixed")

MOST_SAMPLES: Final = 10**9
"""Largest number of samples for one input: far beyond what anybody draws, and exact in every count."""


def check_count(name: str, value: Any) -> int:
    """A number of samples.

    Raises:
        BadInput: in one line with ``name``.
    """
    count = whole(name, value)
    if not 1 <= count <= MOST_SAMPLES:
        raise BadInput(f"{name} must be at least 1 and at most {MOST_SAMPLES:,}, got {count}")
    return count


class Shares(NamedTuple):
    """How the alpha of a look is divided between the class and, where it is bounded separately, the runner-up."""

    top: float = 1.0
    rival: float = 0.0


WHOLE: Final = Shares()


def largest_radius(theorem: Theorem, looks: Looks, shares: Shares = WHOLE) -> float | None:
    """The radius that the looks certify when all votes agree, or None if even then they cannot decide.

    >>> from certify.smoothing.noise.gaussian import Gaussian
    >>> largest_radius(Theorem(Gaussian(1.0), "l2", dimensions=784), Looks((100_000,), (0.001,)))
    3.81...
    """
    reached = []
    for n, alpha in zip(looks.n, looks.alpha, strict=True):
        if alpha:
            q_upper = clopper_pearson_upper(0, n, alpha * shares.top)
            rival = clopper_pearson_upper(0, n, alpha * shares.rival) if shares.rival else q_upper
            reached.append(theorem.radius(q_upper, min(q_upper, rival)))
    return max((radius for radius in reached if radius is not None), default=None)


@dataclass(frozen=True, slots=True)
class Schedule:
    """At most ``n`` samples an input, and ``alpha`` for all looks at them.

    Args:
        n: most samples.
        alpha: error probability of all looks together.
        kind: ``"declared"``: looks in geometric progression, or those given; ``"fixed"``: one look, at n samples.
        looks, look_alphas: looks of one's own, ending at n, and alphas that sum to ``alpha``.

    Raises:
        BadInput: for settings that cannot be right together.
    """

    n: int
    alpha: float
    kind: str = "declared"
    looks: Sequence[int] | None = None
    look_alphas: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_count("n", self.n))
        object.__setattr__(self, "alpha", check_alpha(number("alpha", self.alpha)))
        one_of("schedule", self.kind, SCHEDULES)
        if (self.looks is None) != (self.look_alphas is None):
            raise BadInput("looks and look_alphas belong together: give both or neither")
        if self.looks is None or self.look_alphas is None:
            return
        if self.kind == "fixed":
            raise BadInput("schedule='fixed' has one look, at n: leave out looks, or use schedule='declared'")
        for name, values, kind in (("looks", self.looks, check_count), ("look_alphas", self.look_alphas, number)):
            try:
                several = [] if isinstance(values, str) else list(values)
            except TypeError:
                several = []
            if not several:
                raise BadInput(f"{name} must be several numbers, got {values!r}")
            object.__setattr__(self, name, tuple(kind(name, value) for value in several))
        Looks.summing_to(self.alpha, self.looks, self.look_alphas)
        if self.looks[-1] != self.n:
            raise BadInput(f"the last look is at {self.looks[-1]} samples, but n={self.n}: make them equal")

    def draws_alpha(self, theorem: Theorem) -> float:
        """The part of alpha that pays for draws that do not follow the law exactly: n times the error of one sample."""
        paid = self.n * theorem.noise.total_variation(theorem.dimensions)
        return math.nextafter(paid, math.inf) if paid else 0.0

    def looks_for(self, theorem: Theorem, smallest: float) -> Looks:
        """The looks at the votes with their alphas, which sum to what the draws leave of alpha.

        Args:
            theorem: the radius theorem.
            smallest: the smallest declared radius: looks that cannot prove it spend nothing.

        Raises:
            BadInput: if the draws leave nothing.
        """
        paid = self.draws_alpha(theorem)
        alpha = math.nextafter(self.alpha - paid, 0.0) if paid else self.alpha
        if alpha <= 0.0:
            raise BadInput(
                f"{self.n} draws of {theorem.noise.name} noise are off by {paid:.2g} in total variation, more than "
                f"alpha={self.alpha:g}: use fewer samples or a larger alpha"
            )
        if self.kind == "fixed":
            return Looks((self.n,), (alpha,))
        if self.looks is not None and self.look_alphas is not None:
            return Looks.summing_to(alpha, self.looks, [share * (alpha / self.alpha) for share in self.look_alphas])
        q = theorem.most_missed(smallest)
        return geometric_looks(self.n, alpha, q) if q else Looks((self.n,), (alpha,))

    def check(self, theorem: Theorem, threat: Threat, shares: Shares = WHOLE) -> None:
        """Refuse radii that n samples cannot certify; with a fixed n, only if it can certify none of them.

        Raises:
            BadInput: it says what can be certified, and which n would do.
        """
        said = self.shortfall(theorem, threat, shares)
        cap = largest_radius(theorem, self.looks_for(theorem, threat.radii[0]), shares)
        if said and not (self.kind == "fixed" and cap is not None and cap >= threat.radii[0]):
            raise BadInput(said)

    def shortfall(self, theorem: Theorem, threat: Threat, shares: Shares = WHOLE) -> str:
        """What n samples cannot certify of the declared radii, and what to do; empty if they can certify all."""
        cap = largest_radius(theorem, self.looks_for(theorem, threat.radii[0]), shares)
        if cap is not None and cap >= threat.largest:
            return ""
        needed = self._samples_for(theorem, threat, shares)
        most = "nothing" if cap is None else f"at most radius {threat.number(cap, round_down)}"
        way_out = f"use n >= {needed}" if needed else f"no n up to a billion suffices, {theorem.noise.remedy}"
        return (
            f"n={self.n} samples at alpha={self.alpha:g} and {theorem.noise.scale} can certify {most}, but "
            f"radius {brief(threat.largest)} is declared: {way_out}, or declare smaller radii"
        )

    def _samples_for(self, theorem: Theorem, threat: Threat, shares: Shares) -> int | None:
        """The fewest samples that can certify the largest declared radius; None if even a billion cannot."""

        if self.looks is not None:
            return None

        def enough(n: int) -> bool:
            looks = Schedule(n, self.alpha, self.kind).looks_for(theorem, threat.radii[0])
            cap = largest_radius(theorem, looks, shares)
            return cap is not None and cap >= threat.largest

        try:
            if not enough(MOST_SAMPLES):
                return None
            return bisect.bisect_left(range(1, MOST_SAMPLES), True, key=enough) + 1
        except BadInput:  # a billion draws would use up alpha
            return None
