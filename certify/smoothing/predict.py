"""PREDICT of Cohen, Rosenfeld and Kolter (2019): the smoothed classifier's class, or an abstention."""

from __future__ import annotations

from collections.abc import Iterable

from certify.core.certificate import Look
from certify.smoothing.sampler import Ballot, Votes
from certify.stats.binomial import check_alpha, sign_test

__all__ = ["Predictions", "predict_votes"]


class Predictions(list[int | None]):
    """Classes, None where the samples did not decide, with the seed that draws the same noise again.

    >>> Predictions([1, None], seed=7) == [1, None]
    True
    """

    def __init__(self, classes: Iterable[int | None], seed: int) -> None:
        super().__init__(classes)
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
