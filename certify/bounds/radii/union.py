"""Margins over a union of regions, such as the places of a patch: all together first, then each by itself."""

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

FIRST: Final = {"alpha-crown": "crown", "alpha-crown-last": "crown"}
"""What bounds the regions before a method that searches for planes, which then is asked where that does not suffice."""


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

    One pass over all of it is cheap, because a threat knows the exact minimum of a row over the union. What it leaves
    open is bounded region by region: each is a smaller set, so its bounds are tighter, and the least of them counts.

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
    base, C = FIRST.get(method, method), margins.C[which]

    def proved(region: Region, planes: Sequence[Hint] | None) -> tuple[Tensor, Tensor, tuple[Hint, ...]]:
        """Margins, slack and planes of one region, whose planes are searched for where None are given."""
        if planes is None:
            found = margins.bounded(method, region, C, claim)
            planes = found.hints[0] if found.hints else ()
        else:
            found = prove(margins.graph, region, C, planes, claim=claim, deadline=margins.deadline)
        return margins.margins(found.lower, which), found.slack.amax(), tuple(planes)

    first = margins.bounded(base, margins.region(which, torch.tensor([union.radius], device=C.device)), C, claim)
    lower, slack, hints, failed = margins.margins(first.lower, which), first.slack.amax(), list[Hint](), False
    if not _positive(lower):
        lower = torch.full_like(lower, torch.inf)
        for numbers in union.parts():
            region = union.some(numbers)
            found = margins.bounded(base, region, C.expand(len(numbers), -1, -1), claim)
            each, slack = margins.margins(found.lower, which), slack.maximum(found.slack.amax())
            for place, number in enumerate(numbers):
                one = each[place : place + 1]
                given = None if known is None else known.get(number)
                unknown = known is None and not failed and not _positive(one)
                if base != method and (given is not None or unknown):
                    better, error, planes = proved(region.rows(slice(place, place + 1)), given)
                    one, slack = one.maximum(better), slack.maximum(error)
                    hints += [replace(hint, region=number) for hint in planes]
                    failed |= not _positive(one)  # the input is not proven: no further search is worth its time
                lower = lower.minimum(one)
    return RowBounds(lower, slack.expand(lower.shape), (tuple(hints),))


def _positive(lower: Tensor) -> bool:
    return bool((lower > 0).all())  # NaN is not
