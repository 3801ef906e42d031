"""Decide declared radii by several methods, from the cheapest to the tightest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.methods import METHODS

__all__ = ["LADDER", "Decided", "decide", "ladder"]

LADDER = ("ibp", "crown", "alpha-crown")
"""The methods of ``"auto"``, cheapest first."""


def ladder(method: str) -> tuple[str, ...]:
    """The methods behind a name: the ladder for ``"auto"``, or the one method of that name.

    Raises:
        BadInput: for an unknown name.

    >>> ladder("crown")
    ('crown',)
    >>> ladder("auto")[:2]
    ('ibp', 'crown')
    """
    if method == "auto":
        return tuple(name for name in LADDER if name in METHODS)
    METHODS[method]
    return (method,)


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """The outcome for the declared radii.

    Args:
        proven: (B,) the largest declared radius proven, 0 if none.
        failed: (B,) the smallest declared radius at which the last method failed, infinite if none.
        last: (B,) the index of the last method that was tried.
    """

    proven: Tensor
    failed: Tensor
    last: Tensor


def decide(
    prove: Callable[[str, Tensor, Tensor], Tensor],
    methods: Sequence[str],
    declared: Sequence[float],
    hopeful: Tensor,
) -> Decided:
    """Decide the declared radii of every input by bisection; each method tries those that no earlier one proved.

    Args:
        prove: maps (method, inputs (n,), radius (n,)) to proven lower bounds (n, rows) of their margins.
        methods: names, cheapest first.
        declared: radii in ascending order.
        hopeful: (B,) the inputs whose margins at radius 0 are proven; others are not tried.

    >>> margin = lambda method, which, r: {"weak": 0.2, "strong": 0.4}[method] - r.unsqueeze(1)
    >>> decide(margin, ("weak", "strong"), (0.1, 0.3, 0.5), torch.tensor([True])).proven
    tensor([0.3000], dtype=torch.float64)
    """
    count = len(declared)
    radii = torch.tensor(declared, dtype=torch.float64, device=hopeful.device)
    steps = torch.tensor([0.0, *declared], dtype=torch.float64, device=hopeful.device)
    held = (hopeful & (radii[0] == 0)).long()  # how many declared radii are proven
    last = torch.zeros_like(held)
    for position, method in enumerate(methods):
        open_ = hopeful & (held < count)
        last[open_] = position
        most = torch.full_like(held, count)  # those from here on are not
        while len(which := (open_ & (held < most)).nonzero().flatten()) > 0:
            middle = (held[which] + most[which]) // 2
            passed = prove(method, which, radii[middle]).amin(dim=1) > 0  # NaN proves nothing
            held[which] = torch.where(passed, middle + 1, held[which])
            most[which] = torch.where(passed, most[which], middle)
    failed = torch.cat([radii, radii.new_full((1,), torch.inf)])[held]
    return Decided(steps[held], failed, last)
