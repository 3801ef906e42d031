"""``denoise``: a denoiser in front of a model that is not trained again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from certify.core.input_box import check_box
from certify.data.dataset import Dataset
from certify.errors import BadInput, ModelError
from certify.models.architecture import build, describe
from certify.models.classifier import Classifier
from certify.models.loaders import load_model
from certify.models.networks.denoiser import denoiser
from certify.training.recipe import RECIPES, Objective, Recipe, Size, Step, check_size

__all__ = ["DenoisedSmoothing"]


@RECIPES.register("denoise")
@dataclass(frozen=True)
class DenoisedSmoothing(Recipe):
    """A denoiser before a model that stays as it is, for randomized smoothing of both (Salman et al. 2020, section 3).

    The loss is the cross-entropy of the model's answers to denoised inputs with its own answers to clean ones, plus
    ``weight`` times the mean squared error of what is denoised. The folder holds denoiser and model as one network,
    with the model's weights as they were; a certificate is about the smoothed whole.

    Args:
        base: SPEC of the model. Its layers must be those of model files.
        sigma: standard deviation of the noise, in input units; certify with the same.
        weight: of the squared error.
        width: channels of the denoiser.
        depth: its convolutions.

    >>> DenoisedSmoothing()
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: denoise needs the model that stands behind: base=SPEC, such as base=models/net
    """

    epochs: int = 40
    learning_rate: float = 0.002
    base: str = ""
    sigma: Size = 0.25
    weight: float = 10.0
    width: int = 32
    depth: int = 5

    name: ClassVar[str] = "denoise"
    network: ClassVar[str] = "denoiser"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.base:
            raise BadInput("denoise needs the model that stands behind: base=SPEC, such as base=models/net")
        self._check_above_zero("sigma")
        self._check_within("weight", 0, float("inf"))
        for setting, least in (("width", 1), ("depth", 2)):
            value = getattr(self, setting)
            if not isinstance(value, int) or value < least:
                raise BadInput(f"{setting} must be a whole number of at least {least}, got {value}")

    def pins(self, dataset: Dataset) -> dict[str, str]:
        """The model behind."""
        return {"base": self._model(dataset).digest}

    def module(self, dataset: Dataset, seed: int) -> nn.Sequential:
        """A fresh denoiser, then the layers of the model, which have no gradients.

        Raises:
            BadInput: for a model that does not fit the data or cannot be kept in a folder of layers.
        """
        base = self._model(dataset)
        for what, its, wanted in (
            ("classes", base.num_classes, dataset.num_classes),
            ("input box", base.input_box, check_box(dataset.input_box)),
        ):
            if its != wanted:
                raise BadInput(f"{self.base} has {what} {its}, and the data {wanted}")
        base.check(torch.from_numpy(dataset.x[:3]))
        return nn.Sequential(*build(denoiser(dataset.x.shape[1:], self.width, self.depth), seed), *_layers(base))

    def _model(self, dataset: Dataset) -> Classifier:
        return load_model(self.base, num_classes=dataset.num_classes, input_box=dataset.input_box)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Both losses; an input held out is right if its class is, under one draw of noise."""
        check_size("sigma", self.sigma, dataset)
        assert isinstance(module, nn.Sequential)
        first, base = module[0], module[1:]

        def loss(step: Step) -> Tensor:
            base.eval()  # its normalization must not learn either
            denoised = first(step.x + self.sigma * step.normal())
            with torch.no_grad():
                own = base(step.x).argmax(1)
            return cross_entropy(base(denoised), own) + self.weight * mse_loss(denoised, step.x)

        def kept(step: Step) -> Tensor:
            return module(step.x + self.sigma * step.normal()).argmax(1) == step.y

        return Objective(loss, kept)


def _layers(base: Classifier) -> nn.Sequential:
    """The model as layers of the vocabulary, apart from which nothing can be kept beside a denoiser."""
    try:
        if not isinstance(base.module, nn.Sequential):
            raise ModelError(f"it is {'a function' if base.module is None else type(base.module).__name__}")
        describe(base.module)
    except ModelError as problem:
        raise BadInput(
            f"{base.name} cannot stand behind a denoiser in one folder ({problem}): give a folder that `certify train` "
            "wrote, or a function that returns nn.Sequential of the layers of model files"
        ) from problem
    return base.module
