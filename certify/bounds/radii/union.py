"""Margins over a union of regions, such as the places of a patch: all of them cheaply, then what that leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from certify.bounds.alpha_crown import prove
from certify.bounds.backward import RowBounds
from certify.bounds.hints import Hint
from certify.bounds.region import Region, Union
from certify.core.evidence import Claim

if TYPE_CHECKING:
    from certify.bounds.radii.margins import MarginBounds

__all__ = ["by_region", "over_union"]

CHEAPEST: Final = "ibp"
"""What bounds every region first: tens of times cheaper than backward passes, and it proves most regions."""

FIRST: Final = {"alpha-crown": "crown", "alpha-crown-last": "crown"}
"""What bounds regions before a method that searches for planes, which then is asked where that does not suffice."""

AT_ONCE: Final = 16
"""Regions that are bounded by backward passes together: with more, each costs no less, and the first may decide."""


def by_region(hints: Sequence[Hint]) -> dict[int, tuple[Hint, ...]]:
    """Hints by the number of the region that they belong to."""
    found = dict[int, tuple[Hint, ...]]()
    for hint in hints:
        if hint.region is not None:
            found[hint.region] = (*found.get(hint.region, ()), hint)
    return found


def over_union(
    margins: MarginBounds,
    method: str,
    which: Tensor,
    union: Union,
    claim: Claim | None,
    known: Mapping[int, tuple[Hint, ...]] | None = None,
) -> RowBounds:
    """Lower bounds (1, margins) of the margins of one input over every region of a union.

    Each region is a small set, so interval arithmetic proves most of them. What it leaves open is bounded by the
    method, the region that is furthest from proven first. One region that stays open decides: then the rest keep the
    bounds that they have, which hold.

    Args:
        margins: of a batch of inputs.
        method: a bound method. Planes are searched for only in regions that CROWN does not prove.
        which: (1,) the input.
        union: what the threat reaches from it.
        claim: as for every method.
        known: the planes of regions, in place of a search.

    Raises:
        NoRoom, OutOfTime: where memory or time do not suffice.
    """
    base, C, hints = FIRST.get(method, method), margins.C[which], list[Hint]()

    def bounded(base: str, region: Region) -> tuple[Tensor, Tensor]:
        """Margins (n, margins) and the largest slack of n regions."""
        found = margins.bounded(base, region, C.expand(len(region.box.lower), -1, -1), claim)
        return margins.margins(found.lower, which), found.slack.amax()

    def searched(region: Region, number: int) -> tuple[Tensor, Tensor]:
        """The same for one region, by planes that are known or searched for; none of them where neither is wanted."""
        given = None if known is None else known.get(number)
        if given is not None:
            found, planes = prove(margins.graph, region, C, given, claim=claim, deadline=margins.deadline), given
        else:
            found = margins.bounded(method, region, C, claim)
            planes = found.hints[0] if found.hints else ()
        hints.extend(replace(hint, region=number) for hint in planes)
        return margins.margins(found.lower, which), found.slack.amax()

    each, slacks = zip(*(bounded(CHEAPEST, union.some(numbers)) for numbers in union.parts()), strict=True)
    lower, slack = torch.cat(each), torch.stack(slacks).amax()
    [left] = (~_positive(lower) & (method != CHEAPEST)).nonzero(as_tuple=True)
    order = left[lower[left].amin(dim=1).argsort(stable=True)]
    for begin in range(0, len(order), AT_ONCE):
        numbers = order[begin : begin + AT_ONCE]
        region = union.some(numbers.tolist())
        found, lost = bounded(base, region)
        lower[numbers], slack = lower[numbers].fmax(found), slack.maximum(lost)
        if base != method:
            for place, number in enumerate(numbers.tolist()):
                if not _positive(lower[number]) and (known is None or number in known):
                    better, lost = searched(region.rows(slice(place, place + 1)), number)
                    lower[number], slack = lower[number].fmax(better[0]), slack.maximum(lost)
                    if not _positive(lower[number]):
                        break
        if not bool(_positive(lower[numbers]).all()):
            break
    least = lower.amin(dim=0, keepdim=True)
    return RowBounds(least, slack.expand(least.shape), (tuple(hints),))


def _positive(lower: Tensor) -> Tensor:
    """Which regions have no margin (..., margins) that might be 0 or less; NaN might."""
    return (lower > 0).all(dim=-1)
