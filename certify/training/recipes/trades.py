"""``trades``: a trade of accuracy for smoothness around each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from certify.data.dataset import Dataset
from certify.training.ascent import Ascent, evaluated
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size

__all__ = ["Trades"]


@RECIPES.register("trades")
@dataclass(frozen=True)
class Trades(Recipe):
    """Cross-entropy at the inputs, and how far the answers in a ball are from those (Zhang et al. 2019).

    Args:
        eps: radius of the ball, in input units.
        norm: ``"linf"`` or ``"l2"``.
        steps: gradient steps of the search for the farthest answer.
        beta: weight of the second part, a Kullback-Leibler divergence; 1 to 10 in the paper.
    """

    eps: Size = 0.1
    norm: str = "linf"
    steps: int = 8
    beta: float = 6.0

    name: ClassVar[str] = "trades"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("eps", "beta")
        Ascent(self.norm, self.eps, self.steps)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Both parts; an input held out is right if its class is, under attack."""
        check_size("eps", self.eps, dataset, self.norm)
        ascent = Ascent(self.norm, self.eps, self.steps, dataset.input_box)

        def apart(x: Tensor, answer: Tensor) -> Tensor:
            return kl_div(log_softmax(module(x), 1), answer, log_target=True, reduction="sum")

        def loss(step: Step) -> Tensor:
            with evaluated(module):
                with torch.no_grad():
                    answer = log_softmax(module(step.x), 1)
                farthest = ascent(step, lambda x: apart(x, answer))
            scores = module(step.x)
            return cross_entropy(scores, step.y) + self.beta * apart(farthest, log_softmax(scores, 1)) / len(step.x)

        def kept(step: Step) -> Tensor:
            attacked = ascent(step, lambda x: cross_entropy(module(x), step.y, reduction="sum"))
            return module(attacked).argmax(1) == step.y

        return Objective(loss, kept)
