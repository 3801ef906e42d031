"""``mtl-ibp``: a mixture of the losses at an adversarial example and at interval bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.ascent import Ascent, evaluated
from certify.training.bounded import BoundedRecipe
from certify.training.recipe import RECIPES, Objective, Step

__all__ = ["ExpressiveLoss"]


@RECIPES.register("mtl-ibp")
@dataclass(frozen=True)
class ExpressiveLoss(BoundedRecipe):
    """``(1 - weight) * CE(z_attacked) + weight * CE(z_worst)`` (De Palma et al. 2024, section 4.2).

    The first loss is a lower bound of the worst loss in the ball and the second an upper one: what lies between them
    fits what tight methods prove. Certify such networks with ``crown`` or ``complete``.

    Args:
        weight: of interval bounds: .01 to .1 for small balls, .5 and more for large ones.
        steps: gradient steps of the attack.
    """

    weight: float = 0.05
    steps: int = 8

    name: ClassVar[str] = "mtl-ibp"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_within("weight", 0, 1)
        Ascent("linf", self.eps, self.steps)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The mixed loss; an input held out is right if its class is, under attack."""
        worst, ascent = self.worst_case(module, dataset), Ascent("linf", self.eps, self.steps, dataset.input_box)

        def attacked(step: Step, grown: float) -> Tensor:
            with evaluated(module):
                return ascent(step, lambda x: cross_entropy(module(x), step.y, reduction="sum"), grown)

        def loss(step: Step) -> Tensor:
            grown = self.grown(step.done)
            batch = worst.batch(step)
            layers = batch.layers(worst.ball(step.x, self.eps * grown))
            if not grown:
                return cross_entropy(batch.scores, step.y) + self.charge(layers, step.done)
            proven = cross_entropy(-batch.margins(layers), step.y)
            empirical = cross_entropy(module(attacked(step, grown)), step.y)
            return (1 - self.weight) * empirical + self.weight * proven + self.charge(layers, step.done)

        def kept(step: Step) -> Tensor:
            return module(attacked(step, 1.0)).argmax(1) == step.y

        return Objective(loss, kept)
