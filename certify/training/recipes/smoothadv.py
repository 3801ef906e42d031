"""``smoothadv``: adversarial training of the smoothed classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.training.ascent import Ascent, evaluated
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size, ramp

__all__ = ["SmoothAdversarial"]


@RECIPES.register("smoothadv")
@dataclass(frozen=True)
class SmoothAdversarial(Recipe):
    """Cross-entropy under noise around examples against the smoothed classifier (Salman et al. 2019, section 2).

    The attack climbs on ``-log mean_i p_i(label)``, where ``p_i`` are the answers to m draws of noise, which are also
    the ones that the network is then trained on. A step takes about ``draws * (steps + 1)`` times as long as that of
    ``noise``.

    Args:
        sigma: standard deviation of the noise, in input units; certify with the same.
        eps: l2 radius of the attack, in input units; it grows during the first ``growth`` of the training.
        draws: m.
        steps: gradient steps of the attack.
        growth: see ``eps``.
    """

    epochs: int = 60
    learning_rate: float = 0.002
    sigma: Size = 0.25
    eps: Size = 0.5
    draws: int = 2
    steps: int = 2
    growth: float = 0.2

    name: ClassVar[str] = "smoothadv"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_above_zero("sigma", "eps")
        Ascent("l2", self.eps, self.steps)
        if not isinstance(self.draws, int) or self.draws < 1:
            raise BadInput(f"draws must be a whole number above 0, got {self.draws}")
        if not 0 < self.growth <= 1:
            raise BadInput(f"growth must be above 0 and at most 1, got {self.growth}")

    @property
    def settled(self) -> float:
        """The attack has its final size."""
        return self.growth

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The loss around the examples; an input held out is right if its class is, under one draw of noise."""
        check_size("sigma", self.sigma, dataset)
        check_size("eps", self.eps, dataset, "l2")
        ascent = Ascent("l2", self.eps, self.steps)

        def loss(step: Step) -> Tensor:
            noise = self.sigma * torch.stack([step.normal() for _ in range(self.draws)])

            def logs(x: Tensor) -> Tensor:
                return log_softmax(module((x + noise).flatten(0, 1)), 1).reshape(self.draws, len(step.x), -1)

            def smoothed(x: Tensor) -> Tensor:
                labels = step.y.expand(self.draws, -1)[:, :, None]
                return -(logs(x).gather(2, labels).logsumexp(0) - math.log(self.draws)).sum()

            grown = ramp(step.done, 0.0, self.growth)
            with evaluated(module):
                examples = ascent(step, smoothed, grown) if grown else step.x
            return cross_entropy(module((examples + noise).flatten(0, 1)), step.y.repeat(self.draws))

        def kept(step: Step) -> Tensor:
            return module(step.x + self.sigma * step.normal()).argmax(1) == step.y

        return Objective(loss, kept)
