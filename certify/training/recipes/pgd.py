"""``pgd``: adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.data.dataset import Dataset
from certify.training.ascent import Ascent, evaluated
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size

__all__ = ["AdversarialTraining"]


@RECIPES.register("pgd")
@dataclass(frozen=True)
class AdversarialTraining(Recipe):
    """Cross-entropy at examples that projected gradient ascent finds (Madry et al. 2018).

    Attacks fail on such networks more often, and hardly anything can be proven about them: what they show beside a
    certificate is the gap.

    Args:
        eps: radius of the ball, in input units.
        norm: ``"linf"`` or ``"l2"``.
        steps: gradient steps.
    """

    eps: Size = 0.1
    norm: str = "linf"
    steps: int = 8

    name: ClassVar[str] = "pgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("eps")
        Ascent(self.norm, self.eps, self.steps)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Cross-entropy at the examples; an input held out is right if its class is, under attack."""
        check_size("eps", self.eps, dataset, self.norm)
        ascent = Ascent(self.norm, self.eps, self.steps, dataset.input_box)

        def attacked(step: Step) -> Tensor:
            with evaluated(module):
                return ascent(step, lambda x: cross_entropy(module(x), step.y, reduction="sum"))

        def kept(step: Step) -> Tensor:
            return module(attacked(step)).argmax(1) == step.y

        return Objective(lambda step: cross_entropy(module(attacked(step)), step.y), kept)
