"""Too few samples: the votes are there, and the confidence is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from certify.study.improve.base import RULES, Advice, Case, percents

__all__ = ["samples"]

_MOST: Final = 10_000_000
"""More samples than anybody draws."""


@RULES.register("samples")
def samples(case: Case) -> Iterator[Advice]:
    """What ten times the samples would certify if votes keep the shares that they have."""
    votes = case.votes
    if votes is None or not np.array_equal(votes.index, case.run.summary.sandwich.index):
        return
    n = min(10 * votes.sampling.n, _MOST)
    before = case.run.summary.sandwich.certified
    after = np.where(votes.ahead, votes.projected(n), 0.0)
    gained = {
        one.radius: float(np.mean(~(before >= one.radius) & (after >= one.radius) & (after > 0))) for one in case.losses
    }
    reach = sum(gained[one.radius] for one in case.above) / len(case.above)
    if not case.worth(reach):
        return
    open_inputs = ~(before >= case.last.radius)
    times = n * np.count_nonzero(open_inputs) / max(1, case.spent.passes)
    yield Advice(
        "samples",
        f"draw n={n:,} samples; what that adds takes no training",
        f"{percents(case.losses, lambda one: one.of('abstained', 'open', 'beyond'))} of the inputs are left undecided "
        f"at n={votes.sampling.n:,}, alpha={votes.sampling.alpha:g}; with the shares of votes that they have, "
        f"{percents(case.losses, lambda one: gained[one.radius])} more would be certified",
        "a radius comes from a confidence bound on the share of votes: few samples leave it far below the share itself",
        "Cohen, Rosenfeld and Kolter 2019, section 3.2.2",
        (case.commands.again(f"n{n}", n=n, looks=None, look_alphas=None),),
        case.certifying(max(1.0, round(times, 1)), "at most"),
        f"certified accuracy rises by less than half of {100 * reach:.1f} points on average over the radii above 0",
        reach=reach,
        projected=True,
    )
