"""Random search in balls: an attack for models that have no gradients, and answers that are no classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.core.norms import NORMS
from certify.core.values import whole
from certify.data.generators import keyed_generator
from certify.errors import BadInput

__all__ = ["RandomSearch"]

_FEWEST: Final = 0.02
"""The share of the features that is drawn anew in the last steps; all of them are in the first."""

_BEYOND: Final = 4.0
"""How far beyond the ball new values are drawn, in radii: projected back, most of them lie where the ball ends."""


@ATTACKS.register("random-search")
@dataclass(frozen=True, slots=True)
class RandomSearch(Attack):
    """Random values for fewer and fewer features, kept where the margin grows (after Andriushchenko et al. 2020).

    It asks a model for scores alone, and for the margin of whatever property should be kept, so it attacks regressors
    and top-k answers of plain functions, too. Where a function returns classes alone, hopskipjump is the one to use. A
    smoothed model shows the search one fixed draw of its noise; examples are examined on fresh noise as always.

    Args:
        queries: points that are tried for each input; on a deterministic model the first example ends its search.

    Raises:
        BadInput: unless it is a whole number of at least 1.
    """

    queries: int = 1000
    name = "random-search"
    follows_gradients = False
    limits = "moves in balls of the three norms only"

    def __post_init__(self) -> None:
        if whole("random-search's queries", self.queries) < 1:
            raise BadInput(f"random-search's queries must be at least 1, got {self.queries}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Balls."""
        return norm in NORMS

    @torch.no_grad()
    def perturb(self, search: Search) -> Tensor:
        """The point with the largest margin found for each row."""
        best, margins = search.x.clone(), torch.full((len(search.x),), -torch.inf, device=search.x.device)
        rows = torch.arange(len(best), device=best.device)
        for step in range(self.queries):
            share = max(_FEWEST, (1 - step / self.queries) ** 2)
            z = search.project(self._tried(search, rows, best[rows], step, share), rows)
            labels = search.labels[rows]
            found = search.target.classifier.property.margin(search.scores(z, rows, "fixed"), labels).to(margins)
            better = found > margins[rows]  # NaN is not
            best[rows[better]], margins[rows[better]] = z[better], found[better]
            if search.target.deterministic and not len(rows := rows[~(margins[rows] > 0)]):
                break
        return best

    def _tried(self, search: Search, rows: Tensor, z: Tensor, step: int, share: float) -> Tensor:
        """Points ``z`` of rows with new values, far out, for a share of their features and one at least."""
        x, drawn = search.x[rows], search.random_start(rows, str(step))
        lots = [
            torch.rand(x.shape[1:], generator=keyed_generator(f"{search.keys[row]}:features:{step}"))
            for row in rows.tolist()
        ]
        lot = torch.stack(lots).to(x.device).flatten(1)
        chosen = (lot <= share) | (lot == lot.amin(dim=1, keepdim=True))
        return torch.where(chosen.reshape(x.shape), x + _BEYOND * (drawn - x), z)
