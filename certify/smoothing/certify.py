"""CERTIFY and PREDICT of Cohen, Rosenfeld and Kolter (2019), for many inputs at once.

CERTIFY takes any schedule of looks at the votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from certify.core.certificate import Look
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.smoothing.sampler import Ballot, Votes
from certify.smoothing.schedule import Shares
from certify.smoothing.theorem import Theorem
from certify.stats.binomial import check_alpha, clopper_pearson_upper, sign_test
from certify.stats.sequential import Looks, Plan, best_look, plan

__all__ = [
    "RIVAL_SHARE",
    "ChosenBy",
    "Predictions",
    "SmoothedRadius",
    "certify_votes",
    "predict_votes",
    "shares_for",
    "top_class",
]

ChosenBy = Literal["draws", "label", "votes"]

RIVAL_SHARE: Final = 0.1
"""Share of alpha that bounds the runner-up where it is bounded separately. It has to be fixed before the draws."""


@dataclass(frozen=True, slots=True)
class SmoothedRadius:
    """What CERTIFY returns: a class and its radius, or no radius (abstention), with the counts behind either.

    ``prediction`` without a radius is only the class that most votes went to.
    """

    prediction: int | None
    radius: float | None
    selection: Look | None
    looks: tuple[Look, ...]
    q_upper: float
    rival_upper: float

    @property
    def samples(self) -> int:
        """Forward passes spent, the selection included."""
        return self.looks[-1].n + (0 if self.selection is None else self.selection.n)


def shares_for(chosen_by: ChosenBy, rival_share: float = 0.0, property: Property = TOP_CLASS) -> Shares:
    """How each look's alpha is divided; the parts never sum to more than it, rounding included.

    Where the runner-up is the k-th strongest rival, each of the k has an equal part of what rivals have, see
    :func:`certify_votes`.

    >>> shares_for("votes")
    Shares(top=0.5, rival=0.0)
    """
    if chosen_by == "votes":
        return Shares(0.5)
    shrink = 1.0 - 2.0**-50 if rival_share else 1.0
    return Shares((1.0 - rival_share) * shrink, rival_share / property.places * shrink)


def top_class(look: Look) -> int | None:
    """The class with the most votes, the first of them in a tie; None without any valid vote.

    >>> top_class(Look(n=5, counts={2: 2, 1: 2}, invalid=1))
    1
    """
    return max(look.counts, key=lambda label: (look.counts[label], -label), default=None)


def certify_votes(
    votes: Votes,
    theorem: Theorem,
    looks: Looks,
    radii: Sequence[float],
    *,
    chosen_by: ChosenBy,
    n0: int = 0,
    labels: Sequence[int] | None = None,
    rival_share: float = 0.0,
    property: Property = TOP_CLASS,
) -> list[SmoothedRadius]:
    """Certify the smoothed classifier at each input (Cohen et al. 2019, Algorithm CERTIFY and Proposition 2).

    A class is named; votes are drawn until the declared ``radii`` are proven or given up; each look bounds the class's
    probability by Clopper-Pearson at its own alpha. Each claim is false with probability at most the sum of the
    alphas, provided that the class was named in one of these ways:

    * ``"draws"``: the top class of ``n0`` *separate* draws. Reusing them for the bound would break the level.
    * ``"label"``: the given label. Only this class can be certified, which is all that certified accuracy counts.
    * ``"votes"``: the top class of the votes themselves, bounded at half of alpha; one look only. A class that is
      not the most probable one has probability at most 1/2, and its bound exceeds 1/2 with probability f(p) that is
      convex in p and at most alpha/2 at 1/2, so all such classes together reach alpha/2 (alpha, where no class has a
      majority); the other half pays for too high a bound on the most probable class.

    Args:
        votes: counts votes about the inputs.
        theorem: from bounds to radii.
        looks: when to look, at which alpha.
        radii: the declared radii, ascending: the ones worth sampling for.
        chosen_by, n0, labels: what names the class, see above.
        rival_share: share of each alpha that bounds the runner-up separately, by the largest count of another class;
            0 uses the bound 1 - p_A instead. The true runner-up's count is at most that maximum and the bound is
            monotone, so no factor for the number of classes is needed. For the top k it is the k-th largest count: were
            that too small, so would be the count of one of the k most probable rivals, which are all at least as
            probable as the k-th. So a factor of k is needed, and none for the number of classes.
        property: what is kept. The side with most votes against it is counted. The most probable side has no more
            votes than that and the bound is monotone, so it holds for all sides, and no factor is needed for them.

    Returns:
        One result an input, in order.
    """
    rows = range(len(votes))
    selections: list[Look | None] = [None for _ in rows]
    named: list[int | None] = [None for _ in rows]
    if chosen_by == "draws":
        selections = list(votes.count("selection", [Ballot(row, 0, n0) for row in rows]))
        named = [None if selection is None else property.elected(selection.counts) for selection in selections]
    elif labels is not None:
        named = list(labels)
    shares = shares_for(chosen_by, rival_share, property)
    targets = plan(looks, tuple(theorem.most_missed(radius) for radius in radii))
    drawn = _draw(votes, named, targets, property)
    results = []
    for row in rows:
        history, c_a = drawn[row], named[row]
        if chosen_by == "votes":
            c_a = property.elected(history[-1].counts)
        q_upper, rival_upper = _bounds(history, looks, c_a, shares, property)
        radius = None if c_a is None else theorem.radius(q_upper, rival_upper)
        if chosen_by == "label" and radius is None:
            c_a = property.elected(history[-1].counts, c_a)
        results.append(SmoothedRadius(c_a, radius, selections[row], tuple(history), q_upper, rival_upper))
    return results


def _draw(votes: Votes, named: Sequence[int | None], plan: Plan, property: Property) -> list[list[Look]]:
    """Cumulative looks at each input, until its targets are proven or given up; inputs advance together."""
    history: list[list[Look]] = [[] for _ in named]
    level = np.zeros(len(named), dtype=np.int64)
    active, before = np.arange(len(named)), 0
    for k, (n, alpha) in enumerate(zip(plan.looks.n, plan.looks.alpha, strict=True)):
        counted = votes.count("estimation", [Ballot(row, before, n) for row in active.tolist()])
        for row, new in zip(active.tolist(), counted, strict=True):
            history[row].append(_added(history[row][-1] if k else None, new, alpha))
        misses = np.array([_misses(history[row][-1], named[row], property) for row in active.tolist()])
        level[active], going = plan.step(k, misses, level[active])
        active, before = active[going], n
        if not len(active):
            break
    return history


def _added(before: Look | None, new: Look, alpha: float) -> Look:
    """The votes so far, with the alpha of this look."""
    counts = dict(new.counts)
    for label, count in () if before is None else before.counts.items():
        counts[label] = counts.get(label, 0) + count
    drawn, invalid = (0, 0) if before is None else (before.n, before.invalid)
    return Look(drawn + new.n, counts, alpha, invalid + new.invalid)


def _misses(look: Look, label: int | None, property: Property) -> int:
    """The votes on the side that has most of them against the answer; invalid ones are against everything."""
    if label is None or not property.votable(label):
        return look.n
    return look.invalid + max(property.against(label, look.counts))


def _bounds(
    history: Sequence[Look], looks: Looks, c_a: int | None, shares: Shares, property: Property
) -> tuple[float, float]:
    """Upper bounds on the probability of missing ``c_a`` and on that of every other class, from the best look.

    The other classes are those but for the strongest ones that the property leaves places to.
    """
    best = history[best_look([_misses(look, c_a, property) for look in history], looks)]
    if not best.alpha:
        return 1.0, 1.0
    q_upper = clopper_pearson_upper(_misses(best, c_a, property), best.n, best.alpha * shares.top)
    if not shares.rival:
        return q_upper, q_upper
    rival = clopper_pearson_upper(best.rival(c_a, property.places), best.n, best.alpha * shares.rival)
    return q_upper, min(q_upper, rival)


class Predictions(list[Any]):
    """Classes, None where the samples did not decide, or smoothed numbers; with the seed that draws the noise again.

    >>> Predictions([1, None], seed=7) == [1, None]
    True
    """

    def __init__(self, answers: Iterable[Any], seed: int) -> None:
        super().__init__(answers)
        self.seed = seed


def predict_votes(votes: Votes, n: int, alpha: float) -> list[int | None]:
    """The class the smoothed classifier returns at each input; wrong with probability at most ``alpha``; None abstains.

    The two most voted classes are compared by a two-sided sign test (Cohen et al. 2019, Algorithm PREDICT and
    Proposition 1).
    """
    check_alpha(alpha)
    return [
        _winner(look, alpha) for look in votes.count("prediction", [Ballot(row, 0, n) for row in range(len(votes))])
    ]


def _winner(look: Look, alpha: float) -> int | None:
    ranked = sorted(look.counts, key=lambda label: (-look.counts[label], label))
    if not ranked:
        return None
    n_a = look.counts[ranked[0]]
    n_b = look.counts[ranked[1]] if len(ranked) > 1 else 0
    return ranked[0] if sign_test(n_a, n_a + n_b) <= alpha else None
