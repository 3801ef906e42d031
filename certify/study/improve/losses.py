"""Where certified accuracy is lost: at each radius, every input that is not certified counts in exactly one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from certify.core.run import Run
from certify.core.sandwich import VERDICTS
from certify.core.verdict import Verdict
from certify.study.improve.records import Votes
from certify.summary.join import FAILED_VERDICTS

__all__ = ["MEANINGS", "Loss", "losses_of"]

MEANINGS: Final[Mapping[str, str]] = {
    "failed": "the computation failed, or the method has no rule for the network",
    "wrong": "another class than the label is predicted without any change",
    "abstained": "the label has most votes, too few to say so",
    "beyond": "the radius is beyond the largest that sigma, n and alpha can certify",
    "broken": "predicted correctly, and an attack found an example within the radius",
    "open": "predicted correctly, and neither proven nor broken",
}
"""What each kind of loss means, in the order in which inputs are counted."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One declared radius; every number is a share of all inputs, and together they are 1.

    Args:
        radius: the radius.
        certified: predicted correctly and certified there.
        shares: of the inputs that are not, by the names of :data:`MEANINGS`.
    """

    radius: float
    certified: float
    shares: Mapping[str, float]

    def of(self, *kinds: str) -> float:
        """The share lost in any of these ways."""
        return sum(self.shares[kind] for kind in kinds)


def losses_of(run: Run, votes: Votes | None, cap: float | None) -> tuple[Loss, ...]:
    """The losses at each radius of a run's summary."""
    inputs, n = run.summary.sandwich, run.summary.n
    abstained = inputs.verdict == VERDICTS.index(Verdict.ABSTAIN)
    wrong = ~inputs.correct
    if votes is not None and np.array_equal(votes.index, inputs.index):
        wrong = np.where(abstained, ~votes.ahead, wrong)
    found = []
    for row in run.summary.rows:
        left = ~(inputs.certified >= row.radius)
        certified = n - int(np.count_nonzero(left))
        kinds = {
            "failed": np.isin(inputs.verdict, FAILED_VERDICTS),
            "wrong": wrong,
            "abstained": abstained,
            "beyond": np.full(n, cap is not None and row.radius > cap),
            "broken": inputs.attacked <= row.radius,
            "open": np.full(n, True),
        }
        shares = {}
        for kind, holds in kinds.items():
            shares[kind] = int(np.count_nonzero(left & holds)) / n
            left = left & ~holds
        found.append(Loss(row.radius, certified / n, shares))
    return tuple(found)
