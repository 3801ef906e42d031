"""``lipschitz``: networks that stretch no distance, whose margins at an input are certificates in l2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from certify.data.dataset import Dataset
from certify.training.orthogonal import orthogonal, plain
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step

__all__ = ["OneLipschitz"]


@RECIPES.register("lipschitz")
@dataclass(frozen=True)
class OneLipschitz(Recipe):
    """Cross-entropy of scores less an offset of the label's, under orthogonal weights (Prach and Lampert 2022).

    The difference of two scores changes by at most ``sqrt(2)`` times what the input does, so that a margin of
    ``sqrt(2) r`` is a certificate of radius r. With the offset ``u = sqrt(2) margin`` and the temperature t, the loss
    is ``t * CE((z - u * label) / t)``. Certify with ``--certifier lipschitz``: it proves the constant of each layer
    anew, whatever training meant it to be, in one pass an input and without any noise.

    Linear layers, and convolutions whose windows do not overlap, have orthonormal rows or columns (Trockman and Kolter
    2021); other convolutions are scaled. Weights are so parametrised while they are trained and plain afterwards.

    Args:
        margin: l2 radius that the loss asks for, in input units; more of it certifies large radii and classifies worse.
        temperature: how sharply: less of it classifies better, and certifies large radii worse.
    """

    epochs: int = 60
    learning_rate: float = 0.005
    margin: Size = 0.5
    temperature: float = 0.25

    name: ClassVar[str] = "lipschitz"
    network: ClassVar[str] = "lipnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("margin", "temperature")

    def begin(self, module: nn.Module, generator: torch.Generator) -> None:
        """Parametrise the weights."""
        orthogonal(module)

    def finish(self, module: nn.Module) -> None:
        """Make them plain numbers again."""
        plain(module)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The loss; an input held out is right if its margin certifies half of ``margin``."""
        offset = math.sqrt(2) * self.margin

        def loss(step: Step) -> Tensor:
            scores = module(step.x)
            lowered = scores - offset * one_hot(step.y, scores.shape[1])
            return self.temperature * cross_entropy(lowered / self.temperature, step.y)

        def kept(step: Step) -> Tensor:
            scores = module(step.x)
            label = step.y[:, None]
            margins = scores.gather(1, label) - scores.scatter(1, label, -torch.inf).amax(1, keepdim=True)
            return margins[:, 0] > offset / 2

        return Objective(loss, kept)
