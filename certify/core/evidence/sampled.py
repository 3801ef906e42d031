"""Votes counted under a random change of an input: what all evidence made of them has in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import override

from certify.core.evidence.base import Evidence
from certify.core.schema import Count, PositiveInt, Probability, Real
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate
    from certify.core.threats.base import Threat

__all__ = ["Look", "Sampled"]

_ULPS: Final = 2.0**-48
"""A few roundings, relative: what a sum of alphas may be above the alpha that they divide."""

_NAMED_BY: Final = {"label": "the label", "draws": "separate draws", "votes": "the same votes"}


@dataclass(frozen=True, slots=True)
class Look:
    """The votes after ``n`` samples, and the error probability spent on looking at them.

    Args:
        n: samples drawn so far.
        counts: votes per class; classes without a vote may be left out. They sum to ``n`` less ``invalid``.
        alpha: probability of a wrong bound paid for this look; 0 where nothing is claimed from it.
        invalid: samples for which the model answered NaN or infinity. They count as votes against every class.
    """

    n: PositiveInt
    counts: Mapping[Count, Count]
    alpha: Probability = 0.0
    invalid: Count = 0

    def __post_init__(self) -> None:
        votes = {int(label): int(count) for label, count in sorted(self.counts.items())}
        if min(votes.values(), default=0) < 0 or self.invalid < 0 or sum(votes.values()) + self.invalid != self.n:
            raise BadInput(f"votes {votes} and {self.invalid} invalid samples do not sum to n={self.n}")
        object.__setattr__(self, "counts", votes)

    def rival(self, label: int | None, place: int = 1) -> int:
        """The votes of the strongest other class, or of the one in another place; invalid ones count as one class.

        >>> Look(n=10, counts={0: 5, 1: 3, 2: 2}).rival(0), Look(n=10, counts={0: 5, 1: 3, 2: 2}).rival(0, place=3)
        (3, 0)
        """
        others = [self.invalid, *(count for other, count in self.counts.items() if other != label)]
        return sorted(others, reverse=True)[place - 1] if place <= len(others) else 0


@dataclass(frozen=True, slots=True)
class Sampled(Evidence):
    """Evidence of a radius that follows from counts of random votes, by the theorem of a noise law.

    A member is a dataclass that adds the fields of its law, and ``kind``.

    Args:
        noise: registered name of the noise law.
        dimensions: features of one input.
        chosen_by: what named the class: separate ``"draws"``, the given ``"label"``, or the same ``"votes"`` that
            are then counted, with half of alpha.
        selection: the n0 draws that chose the class; None if the class was not chosen by separate draws.
        looks: the estimation draws, cumulative, with the alpha spent at each look. They never include the selection.
        later: the looks of the schedule that were not needed any more, each (n, alpha): the whole schedule was fixed
            beforehand, and all of it is paid for out of alpha.
        q_upper: the upper confidence bound on the probability that the class is *not* returned: 1 - p_lower,
            held as its own float because digits of p_lower are lost near 1. Of a property with several sides, that on
            the probability of each side.
        rival_upper: the upper confidence bound on the probability of every other class; of the top k, of every other
            one but for the k - 1 strongest.
        rival_share: the share of each look's alpha that pays for ``rival_upper``; 0 where that is ``q_upper`` itself.
        draws_alpha: the part of alpha that pays for draws that are not quite the law's.
        slack: subtracted from the law's radius: how far the input may be from the point the noise is centred on.
        assumption: what the certificate takes on trust about the draws.
        seed: master seed of the noise streams; a block's seed is a hash of it, the input, the stage and the block.
        block_size: samples per seeded block.
        generator: which generator drew the blocks, with the library version: the stream depends on both.
    """

    noise: str
    dimensions: PositiveInt
    chosen_by: Literal["draws", "label", "votes"]
    selection: Look | None
    looks: tuple[Look, ...]
    later: tuple[tuple[PositiveInt, Probability], ...]
    q_upper: Probability
    rival_upper: Probability
    rival_share: Probability
    draws_alpha: Probability
    slack: Real
    assumption: str
    seed: int
    block_size: PositiveInt
    generator: str

    guarantee = "probabilistic"
    methods = ("smoothing",)

    @property
    @override
    def smoothed(self) -> Mapping[str, Any]:
        """The noise law: its name as ``noise``, and what besides makes it, as JSON has it."""
        raise NotImplementedError

    @property
    def scale(self) -> str:
        """How strong the noise is, in words."""
        raise NotImplementedError

    def measure(self, threat: Threat) -> Any:
        """The number, or numbers, from which the law's theorem measures a radius of this threat."""
        raise NotImplementedError

    def _check(self) -> None:
        """Refuse counts, bounds and a slack that cannot be.

        Raises:
            BadInput: naming what is wrong.
        """
        schedule = [*(look.n for look in self.looks), *(n for n, _ in self.later)]
        if not self.looks or any(after <= before for before, after in pairwise(schedule)):
            raise BadInput(f"the looks at the votes have to ascend, got n={schedule}")
        if not 0 <= self.slack < math.inf:
            raise BadInput(f"the slack is not below 0, got {self.slack}")
        if not (0 <= self.q_upper <= 1 and 0 <= self.rival_upper <= 1):
            raise BadInput(f"bounds on probabilities lie in [0, 1], got {self.q_upper} and {self.rival_upper}")

    @property
    def n_most(self) -> int:
        """The samples after which the schedule of looks would have ended."""
        return self.later[-1][0] if self.later else self.looks[-1].n

    @property
    def alpha_spent(self) -> float:
        """The alpha of all looks, taken or not, and of the draws."""
        taken, planned = [look.alpha for look in self.looks], [alpha for _, alpha in self.later]
        return math.fsum([self.draws_alpha, *taken, *planned])

    @property
    def p_lower(self) -> float:
        """Lower confidence bound on the probability of the returned class, rounded down."""
        p_lower = 1.0 - self.q_upper
        # What the subtraction lost is itself exact: 1 - p_lower is a float (Sterbenz 1974).
        return p_lower if (1.0 - p_lower) - self.q_upper >= 0 else math.nextafter(p_lower, 0.0)

    def fault(self, certificate: Certificate) -> str:
        """All looks are paid for out of alpha, and the class is more probable than any other."""
        alpha, missed = certificate.alpha, self.q_upper + self.rival_upper
        if alpha is not None and self.alpha_spent > alpha * (1 + _ULPS):
            return f"looks and draws spend alpha={self.alpha_spent}, more than the {alpha} claimed"
        places = certificate.property.places
        among = places > 1 and self.q_upper < 1 - 1 / (places + 1)
        if certificate.radius is not None and not (missed < 1 or among):
            return f"a class that {self.q_upper:.4g} may miss need not be the most probable one"
        return ""

    @property
    def subject(self) -> tuple[object, ...]:
        """The smoothed model, and how it was sampled."""
        return self.kind, self.sampling

    @property
    def sampling(self) -> tuple[object, ...]:
        """All that decides which samples were drawn and what was asked of them."""
        n0 = None if self.selection is None else self.selection.n
        asked = self.n_most, self._one_look, n0, self.chosen_by, self.rival_share, self.seed
        law = (tuple(value) if isinstance(value, list) else value for value in self.smoothed.values())
        return *law, *asked

    @property
    @override
    def sampling_in_words(self) -> str:
        chosen = _NAMED_BY[self.chosen_by]
        if self.selection is not None:
            chosen = f"n0={self.selection.n} {chosen}"
        most = "" if self._one_look else "at most "
        rival = f", runner-up bounded with {self.rival_share} of alpha" if self.rival_share else ""
        return (
            f"{self.noise} noise, {self.scale}, {most}n={self.n_most:,}, "
            f"class chosen by {chosen}{rival}, seed={self.seed}"
        )

    @property
    def _one_look(self) -> bool:
        return len(self.looks) == 1 and self.looks[0].n == self.n_most

    @property
    def parts(self) -> tuple[str, ...]:
        """The noise law, and the statistics of more than one look."""
        return (f"noise:{self.noise}", *["statistics:declared-looks"] * self.stops_early)

    @property
    def stops_early(self) -> bool:
        """Whether the schedule has more than one look."""
        return len(self.looks) + len(self.later) > 1

    @property
    def of_label(self) -> bool:
        """Whether the label named the class."""
        return self.chosen_by == "label"

    @property
    def features(self) -> int:
        """Those of one input."""
        return self.dimensions

    @property
    @override
    def trusted(self) -> str:
        return self.assumption
