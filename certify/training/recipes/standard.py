"""``standard``: training on the inputs as they are, which everything else is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.recipe import RECIPES, Objective, Recipe, Step

__all__ = ["Standard"]


@RECIPES.register("standard")
@dataclass(frozen=True)
class Standard(Recipe):
    """Cross-entropy on the inputs. Such networks classify well and have hardly any certificates."""

    name: ClassVar[str] = "standard"

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Cross-entropy; an input held out is right if its class is."""

        def kept(step: Step) -> Tensor:
            return module(step.x).argmax(1) == step.y

        return Objective(lambda step: cross_entropy(module(step.x), step.y), kept)
