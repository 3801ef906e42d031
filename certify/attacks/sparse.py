"""Random search over which positions change, and to what: an attack on counted changes that needs no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.moves import NearThreat
from certify.core.threats.base import THREATS
from certify.core.threats.budget import Budget
from certify.core.values import whole
from certify.data.generators import keyed_generator
from certify.errors import BadInput

__all__ = ["SparseRS"]

_TOGETHER: Final = 16
"""Points that are tried in one pass, the best of which is kept. Changing it changes findings."""


@ATTACKS.register("sparse-rs")
@dataclass(frozen=True, slots=True)
class SparseRS(Attack):
    """Random search over sets of changed positions and their values (Croce et al. 2022, Sparse-RS).

    It asks a model for scores alone, so it attacks any function: bytes, tokens, forms, a service. It starts at random
    changes of as many positions as may change. At each step some of these give way to random ones with random values,
    most of them in the beginning and one in the end, and the change with the largest margin is kept. Each input is
    attacked alone with a seed of its own, so findings do not depend on the batch. A model smoothed by noise shows the
    search one fixed draw of it; examples are examined on fresh noise as always.

    Args:
        queries: points at each radius, at most, in batches of 16; on a deterministic model the first
            example ends the search for an input.

    Raises:
        BadInput: unless it is a whole number of at least 1.
    """

    queries: int = 1000
    name = "sparse-rs"
    follows_gradients = False
    limits = "changes counted positions only"

    def __post_init__(self) -> None:
        if whole("sparse-rs's queries", self.queries) < 1:
            raise BadInput(f"sparse-rs's queries must be at least 1, got {self.queries}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Threats whose radius counts positions, each of which takes values of its own."""
        return norm in THREATS and issubclass(THREATS[norm], Budget)

    def perturb(self, search: Search) -> Tensor:
        """The change with the largest margin found for each row, one row after the other."""
        return torch.cat([self._row(search, row) for row in range(len(search.x))])

    @torch.no_grad()
    def _row(self, search: Search, row: int) -> Tensor:
        generator, rows = keyed_generator(f"{search.keys[row]}:search"), torch.full((_TOGETHER,), row)
        near, labels = cast(NearThreat, search.near(rows)), search.labels[rows]
        best, most = search.x[row], -torch.inf
        for done in range(0, self.queries, _TOGETHER):
            share = 1.0 if done == 0 else 0.8 * (1 - done / self.queries) ** 2
            tried = near.neighbours(best.expand(_TOGETHER, *best.shape), share, generator)
            margins = search.target.classifier.property.margin(search.scores(tried, rows, "search"), labels)
            margin, place = margins.nan_to_num(nan=-torch.inf).max(dim=0)
            if float(margin) > most:
                best, most = tried[place], float(margin)
            if most > 0 and search.target.deterministic:
                break
        return best[None]
