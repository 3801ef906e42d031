"""All strengths of a transform, on a grid, and a climb from the worst of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.pgd import PGD
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Transform
from certify.core.values import whole
from certify.errors import BadInput

__all__ = ["Grid"]


@ATTACKS.register("grid")
@dataclass(frozen=True, slots=True)
class Grid(Attack):
    """A look at evenly spaced strengths of a transform, then gradient steps from the one with the largest margin.

    A transform has few parameters, and the loss has many peaks over them: looking everywhere finds what climbing from
    a few points misses (Engstrom et al. 2019, section 3). On functions, which have no gradients, it only looks.

    Args:
        points: strengths to look at; of two parameters, about the root of so many for each.
        steps: gradient steps afterwards.

    Raises:
        BadInput: for fewer than 3 points or one step.
    """

    points: int = 200
    steps: int = 10
    name = "grid"
    follows_gradients = False
    limits = "looks at strengths of transforms only"

    def __post_init__(self) -> None:
        if whole("points", self.points) < 3 or whole("steps", self.steps) < 1:
            raise BadInput(f"grid needs 3 points and 1 step at least, got points={self.points}, steps={self.steps}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Transforms."""
        return norm in THREATS and issubclass(THREATS[norm], Transform)

    def perturb(self, search: Search) -> Tensor:
        """The point with the largest margin found for each row."""
        count = len(cast(Transform, search.threat).parameters)
        side = max(3, round(self.points ** (1 / count)))
        rows = torch.arange(len(search.x), device=search.x.device)
        best, margins = search.x.clone(), torch.full((len(rows),), -torch.inf, device=search.x.device)
        margin = search.target.classifier.property.margin
        for number, place in enumerate(itertools.product(torch.linspace(-1, 1, side).tolist(), repeat=count)):
            z = search.x.clone()
            z[:, -count:] += search.radius * z.new_tensor(place)
            z = search.project(z, rows)
            with torch.no_grad():
                found = margin(search.scores(z, rows, f"grid:{number}"), search.labels)
            better = found > margins
            best[better], margins[better] = z[better], found[better].to(margins.dtype)
        if not search.target.differentiable:
            return best
        return PGD(steps=self.steps, restarts=1, step_scale=2.0 / side).climbed(search, best)
