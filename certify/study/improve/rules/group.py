"""A group far below all others: an average hides it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from certify.lazy import later
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.simultaneous import holm
from certify.study.improve.base import RULES, Advice, Case

__all__ = ["group"]

stats = later("scipy.stats")

_DELTA: Final = 0.05
"""How probable it may be that any group is named although none is below the others."""

_FAR: Final = 0.1
"""Share of its inputs by which a group has to be below the others."""


@RULES.register("group")
def group(case: Case) -> Iterator[Advice]:
    """Groups that are certified less often than the rest, by Fisher's exact test, corrected for all groups and radii.

    Where no group differs, those certified are drawn from all inputs without regard to it: a group has k of them or
    fewer with the probability of a hypergeometric law. The rest is a sample too, whose share is not known exactly.
    """
    for name, tables in case.groups.items():
        place, counts = max(enumerate(tables), key=lambda one: _spread(one[1]))
        certified, inputs = (sum(values) for values in zip(*counts.values(), strict=True))
        rest = {one: ((certified - k) / (inputs - n) if inputs > n else 0.0) for one, (k, n) in counts.items()}
        chances = [float(stats.hypergeom.cdf(k, inputs, certified, n)) for k, n in counts.values()]
        below = holm(chances, _DELTA / len(tables))
        named = [
            one for (one, (k, n)), low in zip(counts.items(), below, strict=True) if low and k / n <= rest[one] - _FAR
        ]
        if not named:
            continue
        named.sort(key=lambda one: counts[one][0] / counts[one][1])
        said = "; ".join(_said(one, *counts[one], rest[one]) for one in named)
        lost = sum(n * rest[one] - k for one, (k, n) in counts.items() if one in named) / inputs
        yield Advice(
            "group",
            f"look at {name} {', '.join(named)} before the average",
            f"at {case.at(case.losses[place].radius)} certified: {said}",
            "a recipe spreads its effort over the data as they are: a group that is rare, mislabelled or close to "
            "another one pays for it; more of its data, or clean labels, move it more than another recipe",
            "Xu et al. 2021, To be robust or to be fair",
            (
                shlex.join(["certify", "summary", case.commands.out, "--group", name]),
                shlex.join(["certify", "improve", case.commands.out, "--explain", "8"]),
            ),
            "seconds; what more data cost is for you to say",
            "with twice the training data of these groups they stay as far below the others",
            reach=max(0.0, lost),
        )


def _spread(counts: object) -> float:
    """How far the lowest group lies below the mean: the radius at which they differ most is the one to look at."""
    assert isinstance(counts, dict)
    shares = [k / n for k, n in counts.values()]
    return sum(k for k, _ in counts.values()) / sum(n for _, n in counts.values()) - min(shares)


def _said(name: str, k: int, n: int, rest: float) -> str:
    low, high = clopper_pearson_lower(k, n, _DELTA / 2), clopper_pearson_upper(k, n, _DELTA / 2)
    return (
        f"{name}: {k} of {n} inputs, {100 * k / n:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %), the "
        f"others {100 * rest:.1f} %"
    )
