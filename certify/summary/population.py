"""What certified inputs say about the population they were drawn from: a bound for each radius, and its condition."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.core.guarantee import Guarantee
from certify.core.rounding import brief, percent_below, percent_down
from certify.stats.population import finite_population_lower, population_lower
from certify.summary.words import percent

__all__ = ["Population", "population_of"]


@dataclass(frozen=True, slots=True)
class Population:
    """Lower bounds on a population's true accuracy, one a radius asked for, and the sentence that says what they mean.

    None at radii beyond the largest declared one, about which nothing can be said.
    """

    lower: tuple[float | None, ...]
    statement: str


def population_of(
    certified: Sequence[int],
    index: Sequence[int] | NDArray[np.int64],
    *,
    declared: Sequence[float],
    asked: Sequence[float],
    guarantee: Guarantee,
    distinct: bool,
    published: bool,
    of: int | None,
    delta: float,
) -> Population | None:
    """The statement that fits how the inputs were drawn; None where there is none.

    A radius chosen after looking gets the bound at the smallest declared one that is not below it: what is robust there
    is robust here. So the declared radii alone share delta, and choosing others costs nothing more.

    Args:
        certified: inputs certified at each *declared* radius.
        index: positions of the inputs in their data set, ascending.
        declared: the radii declared before the run, ascending.
        asked: the radii to state it for.
        guarantee: of the certificates.
        distinct: whether every input was attempted, once.
        published: whether a log was read: the inputs that it chose at regular steps are no random sample.
        of: size of the data set that the inputs are a random subset of, or None.
        delta: probability with which all bounds together may fail.

    >>> settings = {"guarantee": Guarantee.probabilistic(0.001), "distinct": True, "published": False, "delta": 0.05}
    >>> population_of([300], range(500), declared=[0.5], asked=[0.4, 0.5, 0.6], of=10_000, **settings).lower
    (0.5631, 0.5631, None)
    """
    m, alpha = len(index), guarantee.alpha
    if not distinct or (published and (index[0] != 0 or index[-1] != m - 1)):
        return None
    if of is not None and of > m:
        bounds = tuple(robust / of for robust in finite_population_lower(certified, m, of, alpha, delta))
        drawn, whom = "As", f"a random subset of {of:,}, of all {of:,}"
    else:
        bounds = population_lower(certified, m, alpha, delta)
        drawn, whom = "If", "an independent random sample of a population, of that population"
    over = "the draw of the inputs" if alpha is None else "the draw of the inputs and the noise"
    said = [(radius, bounds[bisect_left(declared, radius)]) for radius in asked if radius <= declared[-1]]
    if not said:
        return None
    shown = percent_down if drawn == "As" else percent_below  # a count of all of them, or a bound that was computed
    shares = " / ".join(shown(share) for _, share in said)
    radii = " / ".join(brief(radius) for radius, _ in said)
    return Population(
        (*(share for _, share in said), *[None] * (len(asked) - len(said))),
        f"{drawn} these {m:,} inputs are {whom} at least {shares} % are truly right and robust at radius {radii}, all "
        f"with probability at least {percent(1 - delta)} over {over}.",
    )
