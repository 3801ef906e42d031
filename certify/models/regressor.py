"""A model that returns one number for each input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from certify.core.input_box import BoxLike
from certify.errors import ModelError
from certify.models.classifier import Classifier
from certify.models.estimator import FittedRegressor, is_estimator
from certify.models.normalization import Statistic

__all__ = ["Regressor"]


class Regressor(Classifier):
    """A frozen model of one number, of which :class:`~certify.core.properties.within.Within` is asked.

    Args:
        model: an ``nn.Module`` in eval mode, or any function of a batch: (B, ...) float32 tensor -> (B,) or (B, 1). Or
            a fitted regressor of scikit-learn, which is asked by its ``predict``.
        input_box, mean, std, output, device, precision, compile, name, digest: as in
            :class:`~certify.models.classifier.Classifier`.

    Raises:
        ModelError: as there.

    >>> Regressor(nn.Linear(4, 1).eval(), input_box=None).scores(torch.zeros(2, 4)).shape
    torch.Size([2, 1])
    """

    fewest = 1

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        input_box: BoxLike = (0.0, 1.0),
        *,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        output: str | int | None = None,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        compile: bool = False,
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        model = FittedRegressor(model) if is_estimator(model) else model
        super().__init__(
            model,
            1,
            input_box,
            mean=mean,
            std=std,
            output=output,
            device=device,
            precision=precision,
            compile=compile,
            name=name,
            digest=digest,
        )

    def _as_tensor(self, answer: Any) -> Tensor:
        out = super()._as_tensor(answer)
        if out.dim() == 0 or (out.dim() == 2 and out.shape[1] != 1):
            raise ModelError(
                f"the model returned shape {tuple(out.shape)}; a Regressor returns one number for each input"
            )
        return (out if out.is_floating_point() else out.float()).reshape(len(out), -1)

    def __repr__(self) -> str:
        return f"Regressor({self.name}, sha256 {self.digest[:12]})"
