"""``crown-ibp``: training on linear bounds first, on interval bounds in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.bounded import BoundedRecipe
from certify.training.recipe import RECIPES, Objective, Step

__all__ = ["LinearThenIntervalBounds"]


@RECIPES.register("crown-ibp")
@dataclass(frozen=True)
class LinearThenIntervalBounds(BoundedRecipe):
    """Margins by CROWN over interval bounds mixed with margins by interval bounds (Zhang et al. 2020, section 3.2).

    The weight of CROWN's, ``beta``, falls from 1 to ``last_beta`` while the ball grows: CROWN's are tighter for weights
    that are not trained for intervals yet, and intervals' are what a trained network is proven by. Until ``growth`` a
    step takes about six times as long as that of ``ibp``, with ten classes; after that, if ``last_beta`` is 0, as long.

    Args:
        kappa: final weight of the ordinary loss, as in ``ibp``.
        last_beta: final weight of CROWN's margins.
    """

    kappa: float = 0.0
    last_beta: float = 0.0

    name: ClassVar[str] = "crown-ibp"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_within("kappa", 0, 1)
        self._check_within("last_beta", 0, 1)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The mixed loss; an input held out is right if interval bounds prove it."""
        worst = self.worst_case(module, dataset)

        def loss(step: Step) -> Tensor:
            grown, batch = self.grown(step.done), worst.batch(step)
            kappa, beta = 1 - (1 - self.kappa) * grown, 1 - (1 - self.last_beta) * grown
            ball = worst.ball(step.x, self.eps * grown)
            layers = batch.layers(ball)
            margins = batch.margins(layers)
            if beta and grown:  # planes of boxes without width have no slope
                margins = beta * batch.margins_by("crown-ibp", ball) + (1 - beta) * margins
            mixed = kappa * cross_entropy(batch.scores, step.y) + (1 - kappa) * cross_entropy(-margins, step.y)
            return mixed + self.charge(layers, step.done)

        return Objective(loss, lambda step: self.proven(worst, step, self.eps))
