"""The signature and the registry of training recipes, the small network that they train, and training into a folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import nn

from certify.data.dataset import Dataset
from certify.models.architecture import build
from certify.models.folder import save_folder
from certify.registry import Registry

__all__ = ["RECIPES", "Progress", "Recipe", "small_network", "train_model"]

LARGEST_SIDE = 8
"""Strided convolutions halve an image until no side is longer than this many pixels, and then once more."""

Progress = Callable[[int, int, float], None]
"""Called after each epoch with the epochs done, the epochs in all and the mean loss of the last one."""


class Recipe(Protocol):
    """A frozen dataclass of settings that trains a network; the defaults suit the data set ``digits``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name under which the recipe is registered."""

    @property
    def epochs(self) -> int:
        """Passes over the data."""

    def train(self, dataset: Dataset, module: nn.Module, seed: int, progress: Progress | None = None) -> nn.Module:
        """Train ``module`` in place and return it in eval mode.

        The result depends on the module's weights, the data, the settings and ``seed`` alone; the global random state
        is neither read nor moved.
        """


RECIPES: Registry[Callable[..., Recipe]] = Registry("recipe", package="certify.training")


def train_model(
    recipe: Recipe, dataset: Dataset, out: str | Path, seed: int = 0, progress: Progress | None = None
) -> Path:
    """Train a small network of the shape that ``dataset`` asks for and write it to a folder.

    Args:
        recipe: for example ``RECIPES["noise"](sigma=0.25)``.
        dataset: what to train on; certify on other inputs than these.
        out: the folder, a model SPEC from then on.
        seed: decides the initial weights, the order of the inputs and the noise.
        progress: called after each epoch.

    Raises:
        BadInput: if the folder cannot be written.
        ModelError: if training diverged.
    """
    shape = dataset.x.shape[1:]
    module = build(small_network(shape, dataset.num_classes), seed)
    recipe.train(dataset, module, seed, progress)
    provenance = {
        "name": recipe.name,
        "settings": asdict(recipe),
        "seed": seed,
        "data": {"name": dataset.name, "n": len(dataset), "digest": dataset.digest},
    }
    return save_folder(
        Path(out),
        module,
        num_classes=dataset.num_classes,
        input_box=dataset.input_box,
        input_shape=shape,
        recipe=provenance,
    )


def small_network(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> list[dict[str, Any]]:
    """Layers of a network that trains in seconds: 3x3 convolutions for images (C, H, W), then two linear layers.

    The first convolution has ``width`` channels, the others twice as many; the hidden linear layer has four times as
    many units. The result is a description for :func:`certify.models.architecture.build`.

    >>> [layer["layer"] for layer in small_network((1, 8, 8), num_classes=10)]
    ['Conv2d', 'ReLU', 'Conv2d', 'ReLU', 'Flatten', 'Linear', 'ReLU', 'Linear']
    >>> small_network((5,), num_classes=2)[1]
    {'layer': 'Linear', 'in_features': 5, 'out_features': 64}
    """
    layers: list[dict[str, Any]] = []
    features = math.prod(input_shape)
    if len(input_shape) == 3:
        channels, height, width_in_pixels = input_shape
        strides = [1, *[2] * (1 + max(0, math.ceil(math.log2(max(height, width_in_pixels) / LARGEST_SIDE))))]
        for stride in strides:
            wider = width if stride == 1 else 2 * width
            layers += [_convolution(channels, wider, stride), {"layer": "ReLU"}]
            channels, height, width_in_pixels = wider, -(-height // stride), -(-width_in_pixels // stride)
        features = channels * height * width_in_pixels
    layers += [{"layer": "Flatten"}, _linear(features, 4 * width), {"layer": "ReLU"}]
    return [*layers, _linear(4 * width, num_classes)]


def _convolution(channels: int, wider: int, stride: int) -> dict[str, Any]:
    return {
        "layer": "Conv2d",
        "in_channels": channels,
        "out_channels": wider,
        "kernel_size": 3,
        "stride": stride,
        "padding": 1,
    }


def _linear(features: int, units: int) -> dict[str, Any]:
    return {"layer": "Linear", "in_features": features, "out_features": units}
