"""The optimisation loop that all recipes share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certify.data.dataset import Dataset, seeded_generator
from certify.device import on_one_thread
from certify.errors import BadInput, ModelError
from certify.training.recipe import Progress

__all__ = ["Loop", "ramp"]

FULL_RATE_SHARE = 0.7
"""Share of the training at the full learning rate, which then falls linearly to zero."""

LARGEST_GRADIENT = 10.0
"""Gradients of larger l2 norm are scaled down to it: the interval loss is steep at times while its box grows."""

Loss = Callable[[Tensor, Tensor, float], Tensor]
"""The loss of a batch: inputs (B, ...), labels (B,) and the share of training that is done, in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Loop:
    """How long and how fast to train with Adam (Kingma and Ba 2015).

    Args:
        epochs: passes over the data.
        batch_size: inputs a step.
        learning_rate: of the first 70 % of the steps; it then falls linearly to zero.

    >>> Loop(epochs=0, batch_size=64, learning_rate=1e-3)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: epochs must be a whole number above 0, got 0
    """

    epochs: int
    batch_size: int
    learning_rate: float

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise BadInput(f"{name} must be a whole number above 0, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise BadInput(f"learning_rate must be a finite number above 0, got {self.learning_rate}")

    def run(self, module: nn.Module, dataset: Dataset, loss: Loss, seed: int, progress: Progress | None) -> nn.Module:
        """Minimise ``loss`` over the parameters of ``module``, in place, and return it in eval mode.

        Parameters are updated in place and never replaced, so a ``loss`` may hold on to them. One thread does all the
        work: the number of threads would change the order of float sums and with it the model, and for networks as
        small as these more threads gain nothing and lose much where another process uses the cores.

        Raises:
            ModelError: if the loss is NaN or infinite.
        """
        x, y = torch.from_numpy(dataset.x), torch.from_numpy(dataset.y)
        optimiser = torch.optim.Adam(module.parameters(), lr=self.learning_rate)
        module.train()
        for epoch in range(self.epochs):
            order = torch.from_numpy(seeded_generator(seed, "shuffle", epoch).permutation(len(x)))
            batches = order.split(self.batch_size)
            total = 0.0
            with on_one_thread():
                for step, rows in enumerate(batches):
                    done = (epoch + step / len(batches)) / self.epochs
                    optimiser.param_groups[0]["lr"] = self.learning_rate * (1 - ramp(done, FULL_RATE_SHARE, 1.0))
                    value = loss(x[rows], y[rows], done)
                    optimiser.zero_grad()
                    value.backward()
                    nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
                    optimiser.step()
                    total += float(value.detach()) * len(rows)
            mean = total / len(x)
            if not mean < float("inf"):
                raise ModelError(f"training diverged in epoch {epoch + 1} of {self.epochs}: lower the learning rate")
            if progress is not None:
                progress(epoch + 1, self.epochs, mean)
        return module.eval()


def ramp(done: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, linear between.

    >>> ramp(0.1, 0.25, 0.75), ramp(0.5, 0.25, 0.75), ramp(0.9, 0.25, 0.75)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, max(0.0, (done - start) / (end - start)))
