"""``noise``: training on Gaussian noise, the base model that randomized smoothing wants."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certify.data.dataset import Dataset, seeded_generator
from certify.errors import BadInput
from certify.training.loop import Loop
from certify.training.recipe import RECIPES, Progress

__all__ = ["NoiseAugmentation"]


@RECIPES.register("noise")
@dataclass(frozen=True, slots=True)
class NoiseAugmentation:
    """Cross-entropy on inputs with fresh Gaussian noise at every step (Cohen, Rosenfeld and Kolter 2019, section 3.3).

    Certify with the same ``sigma``: a network that never saw the noise is near chance under it. The noise leaves the
    input box, at training as in the certificate.

    Args:
        sigma: standard deviation of the noise, in input units.
        epochs, batch_size, learning_rate: see :class:`~certify.training.loop.Loop`.

    >>> NoiseAugmentation(sigma=-1)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: sigma must be a finite number above 0, got -1
    """

    sigma: float = 0.25
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 0.002

    name = "noise"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise BadInput(f"sigma must be a finite number above 0, got {self.sigma}")
        self.loop()

    def loop(self) -> Loop:
        """The optimisation settings."""
        return Loop(self.epochs, self.batch_size, self.learning_rate)

    def train(self, dataset: Dataset, module: nn.Module, seed: int, progress: Progress | None = None) -> nn.Module:
        """Train ``module`` in place; see :class:`~certify.training.recipe.Recipe`."""
        generator = torch.Generator().manual_seed(int(seeded_generator(seed, "noise").integers(2**63)))

        def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
            noise = torch.randn(x.shape, generator=generator)
            return nn.functional.cross_entropy(module(x + self.sigma * noise), y)

        return self.loop().run(module, dataset, loss, seed, progress)
