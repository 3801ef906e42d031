"""What recipes that train on bounds share: a ball that grows, initial weights and regularisers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certify.bounds.layers import Layers
from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.training.recipe import Recipe, Size, Step, check_size, ramp
from certify.training.regularisers import growth_and_balance
from certify.training.worst_case import WorstCase, narrow_weights

__all__ = ["BoundedRecipe"]


@dataclass(frozen=True)
class BoundedRecipe(Recipe):
    """Training on what bounds allow in an linf ball, which grows from nothing to ``eps``.

    Args:
        eps: largest radius, in input units; certify at this radius or below.
        warm_up: share of the training before the ball begins to grow.
        growth: share of the training after which it has its size.
        regularise: weight of :func:`~certify.training.regularisers.growth_and_balance`, which fades as the ball grows.
        narrow: whether initial weights are those of Shi et al. 2021, for which bounds do not grow with depth.
    """

    epochs: int = 60
    learning_rate: float = 0.003
    eps: Size = 0.1
    warm_up: float = 0.0
    growth: float = 0.4
    regularise: float = 0.5
    narrow: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("eps")
        self._check_within("warm_up", 0, 1)
        self._check_within("regularise", 0, float("inf"))
        if not self.warm_up < self.growth <= 1:
            raise BadInput(f"growth must be above {self.warm_up:g} (warm_up) and at most 1, got {self.growth}")

    @property
    def settled(self) -> float:
        """The ball has its final size."""
        return self.growth

    def begin(self, module: nn.Module, generator: torch.Generator) -> None:
        """Initial weights for which bounds do not grow with depth."""
        if self.narrow:
            narrow_weights(module, generator)

    def grown(self, done: float) -> float:
        """The share of its size that the ball has: 0 until ``warm_up``, then linear, 1 from ``growth`` on."""
        return ramp(done, self.warm_up, self.growth)

    def proven(self, worst: WorstCase, step: Step, radius: float) -> Tensor:
        """Which inputs (B,) interval bounds prove at a radius."""
        batch = worst.batch(step)
        margins = batch.margins(batch.layers(worst.ball(step.x, radius)))
        return (margins.scatter(1, step.y[:, None], torch.inf) > 0).all(dim=1)

    def charge(self, layers: Layers, done: float) -> Tensor | float:
        """The weighted regularisers, 0 once the ball has its size."""
        weight = self.regularise * (1 - self.grown(done))
        return weight * growth_and_balance(layers) if weight else 0.0

    def worst_case(self, module: nn.Module, dataset: Dataset) -> WorstCase:
        """Bounds of the network.

        Raises:
            BadInput: for a ball in other units than the data.
        """
        check_size("eps", self.eps, dataset)
        return WorstCase(module, dataset)
