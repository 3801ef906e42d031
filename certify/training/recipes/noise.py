"""``noise``: training on Gaussian noise, the base model that randomized smoothing wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size

__all__ = ["NoiseAugmentation"]


@RECIPES.register("noise")
@dataclass(frozen=True)
class NoiseAugmentation(Recipe):
    """Cross-entropy on inputs with fresh Gaussian noise at every step (Cohen, Rosenfeld and Kolter 2019, section 3.3).

    Certify with the same ``sigma``: a network that never saw the noise is near chance under it. The noise leaves the
    input box, at training as in the certificate.

    Args:
        sigma: standard deviation of the noise, in input units.

    >>> NoiseAugmentation(sigma=-1)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: sigma must be a finite number above 0, got -1
    """

    epochs: int = 100
    learning_rate: float = 0.002
    sigma: Size = 0.25

    name: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("sigma")

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Cross-entropy under noise; an input held out is right if its class is, under one draw of noise."""
        check_size("sigma", self.sigma, dataset)

        def scores(step: Step) -> Tensor:
            return module(step.x + self.sigma * step.normal())

        return Objective(
            lambda step: cross_entropy(scores(step), step.y), lambda step: scores(step).argmax(1) == step.y
        )
