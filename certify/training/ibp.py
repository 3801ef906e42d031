"""``ibp``: training on interval bounds, for networks whose linf robustness is cheap to prove."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.tensors import Interval
from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.training.loop import Loop, ramp
from certify.training.recipe import RECIPES, Progress

__all__ = ["IntervalBounds"]


@RECIPES.register("ibp")
@dataclass(frozen=True, slots=True)
class IntervalBounds:
    """Cross-entropy of the worst logits that interval bounds allow in an linf ball (Gowal et al. 2018, section 3).

    The loss is ``kappa * CE(z) + (1 - kappa) * CE(z_worst)``. The ball, cut to the input box, grows from nothing to
    ``eps`` while ``kappa`` falls from 1; both are linear and end after ``growth`` of the training.

    Args:
        eps: largest radius, in input units; certify at this radius or below.
        kappa: final weight of the ordinary loss; less of it proves more and classifies a little worse.
        growth: share of the training during which the ball grows.
        epochs, batch_size, learning_rate: see :class:`~certify.training.loop.Loop`.

    >>> IntervalBounds(kappa=2.0)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: kappa must be from 0 to 1, got 2.0
    """

    eps: float = 0.1
    kappa: float = 0.25
    growth: float = 0.4
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 0.003

    name = "ibp"

    def __post_init__(self) -> None:
        if not 0 < self.eps < math.inf:
            raise BadInput(f"eps must be a finite number above 0, got {self.eps}")
        if not 0 <= self.kappa <= 1:
            raise BadInput(f"kappa must be from 0 to 1, got {self.kappa}")
        if not 0 < self.growth <= 1:
            raise BadInput(f"growth must be above 0 and at most 1, got {self.growth}")
        self.loop()

    def loop(self) -> Loop:
        """The optimisation settings."""
        return Loop(self.epochs, self.batch_size, self.learning_rate)

    def train(self, dataset: Dataset, module: nn.Module, seed: int, progress: Progress | None = None) -> nn.Module:
        """Train ``module`` in place; see :class:`~certify.training.recipe.Recipe`."""
        graph = import_module(module.eval(), torch.from_numpy(dataset.x[:2]))
        differences = torch.eye(dataset.num_classes)

        def loss(x: Tensor, y: Tensor, done: float) -> Tensor:
            grown = ramp(done, 0.0, self.growth)
            radius, kappa = self.eps * grown, 1 - (1 - self.kappa) * grown
            ball = Interval(x - radius, x + radius)
            if (box := dataset.input_box) is not None:
                ends = box.around(x)
                ball = Interval(ball.lower.clamp(*ends), ball.upper.clamp(*ends))
            # Row j bounds z_y - z_j from below: the worst logits relative to that of the label.
            margins = interval_bounds(graph, ball, C=differences[y][:, None, :] - differences).lower
            clean, worst = (nn.functional.cross_entropy(logits, y) for logits in (module(x), -margins))
            return kappa * clean + (1 - kappa) * worst

        return self.loop().run(module, dataset, loss, seed, progress)
