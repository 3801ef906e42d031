"""``bands``: training on images of which one band or block is left, the base model for derandomized smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.core.input_box import check_box
from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.models.defences.base import hidden
from certify.models.defences.votes import Votes
from certify.training.recipe import RECIPES, Objective, Recipe, Step

__all__ = ["Bands"]


@RECIPES.register("bands")
@dataclass(frozen=True)
class Bands(Recipe):
    """Cross-entropy on images of which all but a band of columns, or a block, drawn anew at every step, is hidden.

    Certify with ``--certifier derandomized`` and the same ``size``, ``ablation`` and ``null``: a network that never saw
    images of this kind is near chance on them (Levine and Feizi 2020, de-randomized smoothing, section 4).

    Args:
        size: columns of a band, or the side of a block.
        ablation: ``"band"`` or ``"block"``.
        null: the value of hidden pixels; None for the middle of the input box.

    >>> Bands(size=0)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: a band has a size of at least one pixel, got 0
    """

    epochs: int = 60
    size: int = 4
    ablation: str = "band"
    null: float | None = None

    name: ClassVar[str] = "bands"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "null", self._votes.null)

    @property
    def _votes(self) -> Votes:
        return Votes(self.ablation, self.size, self.null)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Cross-entropy on what is left; an input held out is right if its class is, under one draw.

        Raises:
            BadInput: for data that are no images, or too small ones, or have no box in whose middle nothing is.
        """
        votes, box = self._votes, check_box(dataset.input_box)
        shape = tuple(dataset.x.shape[1:])
        votes.check_shape(shape)
        if self.null is None and box is None:
            raise BadInput("hidden pixels have the middle of the input box, and the data state none: give null")
        count = votes.count(shape)

        def scores(step: Step) -> Tensor:
            drawn = torch.randint(count, (len(step.x),), generator=step.generator)
            return module(hidden(step.x, votes.seen(shape, drawn).to(step.x.device), box, self.null))

        return Objective(
            lambda step: cross_entropy(scores(step), step.y), lambda step: scores(step).argmax(1) == step.y
        )
