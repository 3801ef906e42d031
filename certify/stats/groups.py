"""Groups of inputs (classes, sources): a lower bound for the worst one, and the names of those below a level.

``counts`` maps a group to (certified, n), its inputs drawn independently from the group's own population. A statement
about the minimum needs no correction for the number of groups; a statement that names a group does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from certify.errors import BadInput
from certify.stats.binomial import binomial_at_most, clopper_pearson_lower
from certify.stats.population import less_false
from certify.stats.simultaneous import check_delta, holm, share

__all__ = ["group_lowers", "groups_below", "worst_group_lower"]

Group = TypeVar("Group", bound=Hashable)


def worst_group_lower(counts: Mapping[Group, tuple[int, int]], alpha: float | None, delta: float = 0.05) -> float:
    """Lower bound on the true accuracy of the worst group, right with probability >= 1 - delta; it names no group.

    The least of the groups' *uncorrected* bounds. Let g be the group that truly is worst: which one it is does not
    depend on the draw. The least bound is at most g's bound, and that one is too high with probability at most delta.

    Raises:
        BadInput: for no groups, a group without inputs, impossible counts, or delta or alpha outside (0, 1).

    >>> round(worst_group_lower({"cat": (50, 100), "dog": (60, 100)}, 0.001), 4)
    0.413
    """
    return min(_lowers(counts, alpha, check_delta(delta)).values())


def group_lowers(
    counts: Mapping[Group, tuple[int, int]], alpha: float | None, delta: float = 0.05
) -> dict[Group, float]:
    """Lower bounds on the true accuracy of every group by name, all right at once with probability >= 1 - delta.

    Each group's bound is taken at delta / G, so that one of the G is too high with probability at most delta.

    Raises:
        BadInput: as :func:`worst_group_lower`.

    >>> {group: round(bound, 4) for group, bound in group_lowers({"cat": (50, 100), "dog": (60, 100)}, 0.001).items()}
    {'cat': 0.3977, 'dog': 0.4967}
    """
    return _lowers(counts, alpha, share(delta, len(counts)))


def groups_below(counts: Mapping[Group, tuple[int, int]], level: float, delta: float = 0.05) -> tuple[Group, ...]:
    """Names of groups of which fewer than ``level`` are certified; one is named wrongly with probability <= delta.

    This is about the probability of being *certified*: a group may be more robust than could be certified. The exact
    binomial test of "at least ``level``" for each group, corrected after Holm 1979.

    Raises:
        BadInput: for no groups, a group without inputs, impossible counts, or level or delta outside (0, 1).

    >>> groups_below({"cat": (30, 100), "dog": (60, 100), "frog": (41, 100)}, 0.5)
    ('cat',)
    """
    if not 0 < level < 1:
        raise BadInput(f"the level to fall below must lie strictly between 0 and 1, got {level}")
    _check_groups(counts)
    below = holm([binomial_at_most(k, n, level) for k, n in counts.values()], delta)
    return tuple(group for group, named in zip(counts, below, strict=True) if named)


def _lowers(counts: Mapping[Group, tuple[int, int]], alpha: float | None, level: float) -> dict[Group, float]:
    _check_groups(counts)
    return {group: less_false(clopper_pearson_lower(k, n, level), alpha) for group, (k, n) in counts.items()}


def _check_groups(counts: Mapping[Group, tuple[int, int]]) -> None:
    if not counts:
        raise BadInput("no groups: a statement about the worst one needs at least one")
    for group, (certified, n) in counts.items():
        if not 0 <= certified <= n or n < 1:
            raise BadInput(
                f"group {group!r}: {certified} certified inputs out of {n} are impossible; leave it out if empty"
            )
