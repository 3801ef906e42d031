"""``ibp``: training on interval bounds, for networks whose linf robustness is cheap to prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.bounded import BoundedRecipe
from certify.training.recipe import RECIPES, Objective, Step

__all__ = ["IntervalBounds"]


@RECIPES.register("ibp")
@dataclass(frozen=True)
class IntervalBounds(BoundedRecipe):
    """Cross-entropy of the worst logits that interval bounds allow in an linf ball (Gowal et al. 2018, section 3).

    The loss is ``kappa * CE(z) + (1 - kappa) * CE(z_worst)``, where ``kappa`` falls from 1 while the ball grows.
    Initial weights and regularisers are those of Shi et al. 2021.

    Args:
        kappa: final weight of the ordinary loss; less of it proves more and classifies a little worse.

    >>> IntervalBounds(kappa=2.0)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: kappa must be from 0 to 1, got 2.0
    """

    kappa: float = 0.25

    name: ClassVar[str] = "ibp"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_within("kappa", 0, 1)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The mixed loss; an input held out is right if interval bounds prove it."""
        worst = self.worst_case(module, dataset)

        def loss(step: Step) -> Tensor:
            grown = self.grown(step.done)
            kappa = 1 - (1 - self.kappa) * grown
            batch = worst.batch(step)  # with slopes where kappa is 0, too: those of the statistics matter
            clean = cross_entropy(batch.scores, step.y)
            layers = batch.layers(worst.ball(step.x, self.eps * grown))
            proven = cross_entropy(-batch.margins(layers), step.y)
            return kappa * clean + (1 - kappa) * proven + self.charge(layers, step.done)

        return Objective(loss, lambda step: self.proven(worst, step, self.eps))
