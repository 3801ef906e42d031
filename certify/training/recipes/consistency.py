"""``consistency``: training on noise, with answers that agree under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size

__all__ = ["Consistency"]


@RECIPES.register("consistency")
@dataclass(frozen=True)
class Consistency(Recipe):
    """Cross-entropy under noise, and how far the answers to several draws are from their mean (Jeong and Shin 2020).

    With the answers ``p_i`` to m draws and their mean ``q``, the loss is the mean cross-entropy plus
    ``weight * mean KL(q, p_i) + entropy * H(q)``. A step takes m times as long as that of ``noise``.

    Args:
        sigma: standard deviation of the noise, in input units; certify with the same.
        draws: m, at least 2.
        weight: of the divergence; 5 to 20 in the paper, more for less noise. With too much of it a network answers one
            class to everything and agrees with itself: so it does on the handwritten digits at sigma 0.5 with 10, and
            not with 5.
        entropy: of the entropy of the mean answer.
    """

    epochs: int = 60
    learning_rate: float = 0.002
    sigma: Size = 0.25
    draws: int = 2
    weight: float = 10.0
    entropy: float = 0.5

    name: ClassVar[str] = "consistency"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("sigma")
        self._check_within("weight", 0, float("inf"))
        self._check_within("entropy", 0, float("inf"))
        if not isinstance(self.draws, int) or self.draws < 2:
            raise BadInput(f"draws must be a whole number of at least 2, got {self.draws}")

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The sum; an input held out is right if its class is, under one draw of noise."""
        check_size("sigma", self.sigma, dataset)

        def scores(step: Step) -> Tensor:
            return module(step.x + self.sigma * step.normal())

        def loss(step: Step) -> Tensor:
            noisy = torch.cat([step.x + self.sigma * step.normal() for _ in range(self.draws)])
            logs = log_softmax(module(noisy), 1).reshape(self.draws, len(step.x), -1)
            clean = torch.stack([cross_entropy(one, step.y) for one in logs]).mean()
            log_mean = logs.logsumexp(0) - torch.tensor(float(self.draws)).log()
            mean = log_mean.exp()
            divergence = (mean * (log_mean - logs)).sum(2).mean()
            own = -(mean * log_mean).sum(1).mean()
            return clean + self.weight * divergence + self.entropy * own

        return Objective(loss, lambda step: scores(step).argmax(1) == step.y)
